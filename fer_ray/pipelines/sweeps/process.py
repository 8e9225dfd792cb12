"""The distributed part of a sweep: read images, and process each new content."""

from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from fer_ray.errors import SourceLostError, UserError
from fer_ray.execution.cluster.session import has_several_nodes, starts_locally
from fer_ray.execution.cluster.shared_storage import not_shared_message
from fer_ray.execution.guard import trim_idle_guards
from fer_ray.execution.progress import Advance
from fer_ray.execution.signals import handle_sigterm
from fer_ray.execution.tasks.block_sizes import LEAST_BLOCK_IMAGES, block_size, next_size
from fer_ray.execution.tasks.claims import MAX_CONTENTS, Claim, Claims
from fer_ray.execution.tasks.thread_runner import run_meanwhile
from fer_ray.pipelines.sweeps.block_files import BlockResult, Output
from fer_ray.pipelines.sweeps.blocks import Block, Limits, ProcessBlock
from fer_ray.pipelines.sweeps.context import SweepContext, raise_if_stopped
from fer_ray.pipelines.sweeps.known_contents import claims, known_contents
from fer_ray.pipelines.sweeps.outcomes import index_outcomes
from fer_ray.pipelines.sweeps.planning.plan_work import settle
from fer_ray.pipelines.sweeps.publishing.commits import Commits
from fer_ray.pipelines.sweeps.publishing.fuse import FuseError
from fer_ray.sources.streams.timed_reader import with_probe
from fer_ray.storage.files import unreachable
from fer_ray.storage.table_folder import NewFile

if TYPE_CHECKING:
    from fer_ray.execution.cluster.prometheus import SweepMetrics

WITNESSES = 4  # candidates among the known images, and among those to process


@dataclass
class _Round:
    """A round, which tries each image once.

    Attributes:
        images: Number of images.
        blocks: Blocks of these images that have not been processed yet.
        finished: Results of blocks that were processed while Ray started.
        claimed: Sorted keys of the contents in these results.
    """

    images: int
    blocks: Iterator[Block]
    finished: list[BlockResult] = field(default_factory=list)
    claimed: NDArray[np.uint64] = field(default_factory=lambda: np.array([], np.uint64))


def process_images(sweep: SweepContext, start_ray: bool) -> None:
    """Read images with unknown content, and process contents without results, in rounds.

    A round tries each image once. Contents that are without results after it are processed in the
    next one: images have changed, or a block was lost with a worker after it had claimed them.

    Args:
        sweep: The sweep; the images are in its files.
        start_ray: Whether to start Ray; the first images are processed meanwhile.

    Raises:
        FuseError: The first images all failed with the same error; nothing was committed.
        UserError: The source or the store is lost; finished results are committed.
        StoppedError: The stop flag is set; finished results are committed.
    """
    files, seconds = sweep.files, sweep.settings.execution.image_seconds
    candidates = files.known_sample[:WITNESSES] + files.todo_sample[:WITNESSES]
    sweep.source = with_probe(sweep.source, candidates, seconds)
    sweep.record.sample_throughput()
    this_round = _plan_round(sweep, files.todo, start_ray)
    try:
        if start_ray:
            _start_ray(sweep, this_round)
        sweep.record.workers = sweep.runner.workers
        images = this_round.images
        with (
            _exported_metrics(sweep, images) as metrics,
            sweep.progress("process", "images", images) as advance,
        ):
            while this_round.images:
                _process_round(sweep, this_round, metrics, advance)
                raise_if_stopped(sweep)
                settle(sweep)
                this_round = _plan_round(sweep, files.to_process)
    finally:
        trim_idle_guards()


def _start_ray(sweep: SweepContext, this_round: _Round) -> None:
    """Start Ray. If that takes seconds, process the first blocks in this process meanwhile."""
    if not starts_locally() or sweep.files.results.rows > MAX_CONTENTS:
        sweep.runner.start()
        return
    own = Claims(known_contents(sweep, this_round.claimed)(0, 1))
    with run_meanwhile(_task(sweep, own.claim), this_round.blocks) as this_round.finished:
        sweep.runner.start()
    this_round.claimed = own.granted
    trim_idle_guards(keep=0)  # workers of Ray start their own child processes


def _process_round(
    sweep: SweepContext, this_round: _Round, metrics: "SweepMetrics | None", advance: Advance
) -> None:
    commits = Commits(sweep, metrics.committed if metrics else lambda: None)
    read: list[NewFile] = []
    left = this_round.images
    try:
        for result in _results(sweep, this_round, commits):
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


def _results(sweep: SweepContext, this_round: _Round, commits: Commits) -> Iterator[BlockResult]:
    """Run the task of each block; once the stop flag is set, commit and await running ones."""
    with (
        handle_sigterm(sweep.stop.set),
        claims(sweep, this_round.images, this_round.claimed) as claim,
    ):
        yield from this_round.finished
        task = _task(sweep, claim)
        try:
            yield from sweep.runner.run(
                task, this_round.blocks, Block.split, task.give_up, commits.flush, threads=True
            )
        except SourceLostError:
            root, probed = Path(sweep.source.root), sweep.source.local and sweep.source.probe
            if probed and has_several_nodes() and not unreachable([root]):
                raise UserError(not_shared_message(root)) from None
            raise


def _plan_round(sweep: SweepContext, todo: list[NewFile], start_ray: bool = False) -> _Round:
    images = sum(file.rows for file in todo)
    return _Round(images, _blocks(sweep, todo, images, start_ray))


def _blocks(
    sweep: SweepContext, todo: list[NewFile], total: int, start_ray: bool
) -> Iterator[Block]:
    """Divide the images into blocks: small ones until Ray has started, if this sweep starts it."""
    fixed, done = sweep.settings.execution.block_images, 0
    for file in todo:
        start = 0
        while start < file.rows:
            if start_ray and sweep.runner.in_process:
                wanted = LEAST_BLOCK_IMAGES
            else:
                workers = sweep.runner.workers
                wanted = next_size(block_size(total, workers), done, total - done, workers)
            count = min(fixed or wanted, file.rows - start)
            yield Block(file.name, start, count)
            start, done = start + count, done + count


def _task(sweep: SweepContext, claim: Claim) -> ProcessBlock:
    seconds, reported = sweep.settings.execution.image_seconds, sweep.settings.sweep.fuse_images
    limits = Limits(sweep.settings.extract.decode.max_bytes, seconds, reported)
    return ProcessBlock(sweep.source, sweep.steps, limits, claim, sweep_output(sweep))


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
