"""The distributed part of a sweep: read and hash images, and describe each new content."""

import errno
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.compute as pc

from fer_ray.errors import SourceLostError, UserError
from fer_ray.execution.claims import MOST_KNOWN, Claim, Claims
from fer_ray.execution.progress import Advance
from fer_ray.execution.session import has_several_nodes, not_shared_message
from fer_ray.pipelines.sweeps.blocks import (
    READ_OUTCOME_SCHEMA,
    Limits,
    describe_block,
    read_block,
)
from fer_ray.pipelines.sweeps.commits import ReadingCommits, ResultCommits
from fer_ray.pipelines.sweeps.context import SweepContext, raise_if_stopped
from fer_ray.pipelines.sweeps.describe import failed_rows
from fer_ray.pipelines.sweeps.fuse import FAULTS, FuseError
from fer_ray.sources.streams.timed_reader import with_probe
from fer_ray.storage.files import unreachable
from fer_ray.vocabulary import Stage, Status

if TYPE_CHECKING:
    from fer_ray.execution.prometheus import Metrics

WORKER_DIED = "its worker died repeatedly"
WITNESSES = 4  # candidates among the known images, and among those to process
NO_FILE = os.strerror(errno.ENOENT)  # the error of an image that does not exist


def read_and_describe(sweep: SweepContext) -> None:
    """Read images with unknown content and describe new contents; then describe the remaining ones.

    Raises:
        FuseError: The first images all failed with the same error; nothing was committed.
        UserError: The source or the store is lost; finished results are committed.
    """
    work = _Work(sweep)
    candidates = sweep.ledger.sample_known(WITNESSES) + sweep.ledger.sample_to_do(WITNESSES)
    sweep.source = with_probe(sweep.source, candidates, sweep.settings.execution.image_seconds)
    sweep.record.sample_throughput()
    try:
        with sweep.record.timed("read"):
            _read_all(work)
        raise_if_stopped(sweep)
        with sweep.record.timed("describe"):
            _describe_all(work)
    except FuseError:  # nothing may be committed
        raise
    except BaseException:  # the source is lost, or the user interrupts: commit what is finished
        work.flush()
        raise
    work.commits.flush()  # the readings become part of `images` on publication


class _Work:
    """State of reading and describing: commits and metrics."""

    def __init__(self, sweep: SweepContext) -> None:
        self.sweep = sweep
        self.metrics = _exported_metrics(sweep)
        self.commits = ResultCommits(sweep, self._count_commit)
        self.readings = ReadingCommits(sweep)

    def add_results(self, results: pa.Table, planned: set[str], left: int) -> tuple[int, str]:
        """Add the results of a block to the commits and the figures.

        Args:
            results: Results of a block.
            planned: SHA-256 of the contents that were planned for the block.
            left: Number of contents to describe before this block.

        Returns:
            The number of new contents, and the counts by status of the sweep so far, as text.
        """
        sweep = self.sweep
        sweep.fuse.check(self._exclude_repeated_failures(results))
        counts = sweep.record.count_results(self.commits.add(results, planned))
        if self.metrics is not None:
            self.metrics.described(counts, left - counts.total())
        so_far = sweep.record.outcomes.most_common()
        return counts.total(), ", ".join(f"{count} {status}" for status, count in so_far)

    def flush(self) -> None:
        """Commit finished results and readings."""
        self.commits.flush()
        self.readings.flush()

    def _count_commit(self) -> None:
        if self.metrics is not None:
            self.metrics.committed()

    def _exclude_repeated_failures(self, results: pa.Table) -> pa.Table:
        """Drop contents that fail again, which does not indicate a broken installation."""
        retried = pc.is_in(results["sha256"], self.commits.retried)
        failed = pc.is_in(results["status"], pa.array([str(status) for status in FAULTS]))
        return results.filter(pc.invert(pc.and_(retried, failed)))


def _exported_metrics(sweep: SweepContext) -> "Metrics | None":
    """The metrics of the sweep; None without Ray, which exports them."""
    if sweep.in_process:
        return None
    from fer_ray.execution.prometheus import Metrics

    return Metrics()


@contextmanager
def _claims(sweep: SweepContext) -> Iterator[Claim]:
    """The function that claims a new content for a block, by an actor unless in this process."""
    known = sweep.ledger.content_keys(MOST_KNOWN)
    if sweep.in_process:
        yield Claims(known).claim
        return
    from fer_ray.execution.block_tasks import start_claims, stop_claims

    claim = start_claims(known)
    try:
        yield claim
    finally:
        stop_claims(claim)


def _read_all(work: _Work) -> None:
    """Read every image whose content is unknown, and describe the content if it is new."""
    sweep = work.sweep
    left = sweep.ledger.count_to_hash()
    if not left:
        return
    blocks = sweep.ledger.to_hash(_block_size(sweep, left))
    with _claims(sweep) as claim, sweep.progress("read", "images", left) as advance:
        task = partial(
            read_block, source=sweep.source, describe=sweep.describe, limits=_limits(sweep),
            claim=claim,
        )  # fmt: skip
        for results, outcomes in _run(sweep, task, blocks, _unread_block, work.flush):
            _require_shared(sweep, outcomes)
            sweep.ledger.add_outcomes(outcomes)
            work.readings.add(outcomes)
            sweep.record.read += outcomes.num_rows
            left -= outcomes.num_rows
            contents = set(results["sha256"].to_pylist())
            _, summary = work.add_results(results, contents, left + len(contents))
            advance(outcomes.num_rows, summary)
    sweep.ledger.apply_outcomes()


def _describe_all(work: _Work) -> None:
    """Describe each content without results, in rounds.

    Images that change during a round are recorded, and their new contents described in the next
    one. Each round settles at least the images that it has tried.
    """
    sweep = work.sweep
    total = sweep.ledger.count_to_describe()
    if not total:
        return
    with sweep.progress("describe", "images", total) as advance:
        while total and not sweep.stop():
            _describe_round(work, total, advance)
            total = sweep.ledger.count_to_describe()


def _describe_round(work: _Work, left: int, advance: Advance) -> None:
    sweep = work.sweep
    task = partial(
        describe_block, source=sweep.source, describe=sweep.describe, limits=_limits(sweep)
    )
    blocks = sweep.ledger.to_describe(_block_size(sweep, left))
    for results, changed, planned in _run(sweep, task, blocks, _crashed_block, work.flush):
        _require_shared(sweep, changed)
        sweep.ledger.add_outcomes(changed)
        done, summary = work.add_results(results, planned, left)
        left -= done
        advance(done, summary)
    sweep.ledger.apply_outcomes()


def _block_size(sweep: SweepContext, total: int) -> int:
    from fer_ray.execution.block_sizes import block_size

    return sweep.settings.execution.block_images or block_size(total, sweep.record.workers)


def _limits(sweep: SweepContext) -> Limits:
    return Limits(sweep.settings.extract.decode.max_bytes, sweep.settings.execution.image_seconds)


def _run(
    sweep: SweepContext,
    task: Callable[[pa.Table], Any],
    blocks: Iterator[pa.Table],
    lost: Callable[[pa.Table], Any],
    stopping: Callable[[], None],
) -> Iterator[Any]:
    if sweep.in_process:
        yield from _run_in_process(task, blocks, sweep.stop, stopping)
        return
    from fer_ray.execution.block_tasks import run_blocks

    workers = sweep.settings.execution.workers
    try:
        yield from run_blocks(task, blocks, workers, sweep.stop, lost, stopping)
    except SourceLostError:
        root, readable_here = Path(sweep.source.root), sweep.source.local and sweep.source.probe
        if readable_here and has_several_nodes() and not unreachable([root]):
            raise UserError(not_shared_message(root)) from None
        raise


def _run_in_process(
    task: Callable[[pa.Table], Any],
    blocks: Iterator[pa.Table],
    stopped: Callable[[], bool],
    stopping: Callable[[], None],
) -> Iterator[Any]:
    for block in blocks:
        if stopped():
            stopping()
            return
        yield task(block)


def _require_shared(sweep: SweepContext, outcomes: pa.Table) -> None:
    """Check that images that do not exist on a node do not exist on the driver either.

    Raises:
        UserError: They do, so the node does not share the driver's folder.
    """
    missing = outcomes.filter(pc.equal(outcomes["error"], NO_FILE))["path"].to_pylist()
    if not missing or sweep.in_process or not sweep.source.local or not has_several_nodes():
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


def _unread_block(block: pa.Table) -> tuple[pa.Table, pa.Table]:
    failure = {"status": Status.CRASHED.value, "stage": Stage.DECODE.value, "error": WORKER_DIED}
    rows = [{**row, **failure} for row in block.to_pylist()]
    outcomes = pa.Table.from_pylist(rows, schema=READ_OUTCOME_SCHEMA)
    return failed_rows([], Status.CRASHED, "", ""), outcomes


def _crashed_block(block: pa.Table) -> tuple[pa.Table, pa.Table, set[str]]:
    contents = block["sha256"].to_pylist()
    failed = failed_rows(contents, Status.CRASHED, Stage.DECODE, WORKER_DIED)
    return failed, READ_OUTCOME_SCHEMA.empty_table(), set(contents)
