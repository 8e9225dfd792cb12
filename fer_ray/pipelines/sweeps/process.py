"""The distributed part of a sweep: read images, and process each new content."""

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from pyarrow import dataset

from fer_ray.errors import SourceLostError, UserError
from fer_ray.execution.cluster.session import has_several_nodes
from fer_ray.execution.cluster.shared_storage import not_shared_message
from fer_ray.execution.guard import trim_idle_guards
from fer_ray.execution.progress import Advance
from fer_ray.execution.signals import handle_sigterm
from fer_ray.execution.tasks.block_sizes import block_size, next_size
from fer_ray.execution.tasks.claims import Claim, claims_in_process, content_keys, start_claims
from fer_ray.pipelines.sweeps.block_files import BlockResult, Output
from fer_ray.pipelines.sweeps.blocks import Block, Limits, ProcessBlock
from fer_ray.pipelines.sweeps.context import SweepContext, raise_if_stopped
from fer_ray.pipelines.sweeps.outcomes import index_outcomes
from fer_ray.pipelines.sweeps.planning.plan_work import settle
from fer_ray.pipelines.sweeps.publishing.commits import Commits
from fer_ray.pipelines.sweeps.publishing.fuse import FuseError
from fer_ray.sources.streams.timed_reader import with_probe
from fer_ray.storage.files import unreachable
from fer_ray.storage.planning.partitions import HASH_BITS
from fer_ray.storage.planning.sorted_files import HASH
from fer_ray.storage.table_folder import NewFile, TableFolder

if TYPE_CHECKING:
    from fer_ray.execution.cluster.prometheus import SweepMetrics

WITNESSES = 4  # candidates among the known images, and among those to process


def process_images(sweep: SweepContext) -> None:
    """Read images with unknown content, and process contents without results, in rounds.

    A round tries each image once. Contents that are without results after it are processed in the
    next one: images have changed, or a block was lost with a worker after it had claimed them.

    Raises:
        FuseError: The first images all failed with the same error; nothing was committed.
        UserError: The source or the store is lost; finished results are committed.
        StoppedError: The stop flag is set; finished results are committed.
    """
    files, seconds = sweep.files, sweep.settings.execution.image_seconds
    candidates = files.known_sample[:WITNESSES] + files.todo_sample[:WITNESSES]
    sweep.source = with_probe(sweep.source, candidates, seconds)
    sweep.record.sample_throughput()
    todo = files.todo
    images = sum(file.rows for file in todo)
    try:
        with (
            _exported_metrics(sweep, images) as metrics,
            sweep.progress("process", "images", images) as advance,
        ):
            while todo:
                _process_round(sweep, todo, metrics, advance)
                raise_if_stopped(sweep)
                settle(sweep)
                todo = files.to_process
    finally:
        trim_idle_guards()


def _process_round(
    sweep: SweepContext, todo: list[NewFile], metrics: "SweepMetrics | None", advance: Advance
) -> None:
    commits = Commits(sweep, metrics.committed if metrics else lambda: None)
    read: list[NewFile] = []
    left = sum(file.rows for file in todo)
    try:
        for result in _results(sweep, todo, commits):
            _require_shared(sweep, result.missing)
            commits.add(result)
            sweep.fuse.check(result.first)
            commits.flush_if_due()
            read += [file for file in (result.readings, result.outcomes) if file]
            sweep.record.read += result.read
            sweep.record.count_results(result)
            left -= result.images
            if metrics:
                metrics.processed(result.statuses, left)
            so_far = sweep.record.outcomes.most_common()
            advance(result.images, ", ".join(f"{count} {status}" for status, count in so_far))
    except FuseError:  # nothing may be committed
        commits.discard()
        raise
    except BaseException:  # the source is lost, or the user interrupts: commit what is finished
        commits.flush()
        raise
    commits.flush()
    index_outcomes(sweep, read)


def _results(sweep: SweepContext, todo: list[NewFile], commits: Commits) -> Iterator[BlockResult]:
    """Run the task of each block; once the stop flag is set, commit and await running ones."""
    total = sum(file.rows for file in todo)
    with handle_sigterm(sweep.stop.set), _claims(sweep, total) as claim:
        task = ProcessBlock(sweep.source, sweep.steps, _limits(sweep), claim, sweep_output(sweep))
        blocks = _blocks(sweep, todo)
        try:
            yield from sweep.runner.run(
                task, blocks, Block.split, task.give_up, commits.flush, threads=True
            )
        except SourceLostError:
            root, probed = Path(sweep.source.root), sweep.source.local and sweep.source.probe
            if probed and has_several_nodes() and not unreachable([root]):
                raise UserError(not_shared_message(root)) from None
            raise


def _blocks(sweep: SweepContext, todo: list[NewFile]) -> Iterator[Block]:
    total, workers = sum(file.rows for file in todo), sweep.runner.workers
    fixed, size, done = sweep.settings.execution.block_images, block_size(total, workers), 0
    for file in todo:
        start = 0
        while start < file.rows:
            wanted = fixed or next_size(size, done, total - done, workers)
            count = min(wanted, file.rows - start)
            yield Block(file.name, start, count)
            start, done = start + count, done + count


def _limits(sweep: SweepContext) -> Limits:
    seconds, reported = sweep.settings.execution.image_seconds, sweep.settings.sweep.fuse_images
    return Limits(sweep.settings.extract.decode.max_bytes, seconds, reported)


def sweep_output(sweep: SweepContext) -> Output:
    """Where the tasks of a sweep write their rows."""
    results, readings = sweep.store.folder("results"), sweep.store.folder("readings")
    return Output(
        results, readings, sweep.scratch, sweep.schema, sweep.recipe.fingerprint,
        sweep.record.sweep,
    )  # fmt: skip


def _exported_metrics(
    sweep: SweepContext, left: int
) -> AbstractContextManager["SweepMetrics | None"]:
    """The metrics of the sweep; None without Ray, which exports them."""
    if sweep.runner.in_process:
        return nullcontext()
    from fer_ray.execution.cluster.prometheus import SweepMetrics

    return SweepMetrics(left)


@contextmanager
def _claims(sweep: SweepContext, images: int) -> Iterator[Claim]:
    """The function that claims new contents for a block, by actors unless in this process."""
    load = _KnownContents(sweep.scratch, sweep.files.results.files, sweep.recipe.fingerprint)
    if sweep.runner.in_process:
        yield claims_in_process(load)
        return
    actors = start_claims(load, sweep.files.results.rows + images)
    try:
        yield actors
    finally:
        actors.stop()


@dataclass(frozen=True)
class _KnownContents:
    """Loads the keys of contents that have results, as `LoadKnown`.

    Attributes:
        scratch: Scratch folder.
        results: Scratch files of the keys of results, by content.
        recipe: Fingerprint of the store recipe.
    """

    scratch: TableFolder
    results: list[str]
    recipe: str

    def __call__(self, index: int, count: int) -> NDArray[np.uint64]:
        start, stop = ((part << HASH_BITS) // count for part in (index, index + 1))
        found, recipe = dataset.field(HASH), dataset.field("recipe")
        rows = (recipe == self.recipe) & (found >= start) & (found < stop)
        keys = [
            content_keys(batch["sha256"].to_pylist())
            for batch in self.scratch.batches(self.results, ["sha256"], rows)
        ]
        return np.unique(np.concatenate([np.array([], np.uint64), *keys]))


def _require_shared(sweep: SweepContext, missing: list[str]) -> None:
    """Check that images that do not exist on a node do not exist on the driver either.

    Raises:
        UserError: An image exists on the driver, so the node does not share its folder.
    """
    if not missing or not sweep.source.local or not has_several_nodes():
        return
    root = Path(sweep.source.root)
    if any(_can_open(root / path) for path in missing):
        raise UserError(not_shared_message(root))


def _can_open(file: Path) -> bool:
    """Try to open a file: `exists` could answer from the cache of a network mount."""
    try:
        with file.open("rb"):
            return True
    except OSError:
        return False
