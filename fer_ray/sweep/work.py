"""The work of a sweep: images are read and hashed, and each new content described."""

from collections.abc import Callable, Iterator
from functools import partial
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from fer_ray.contracts import Stage, Status
from fer_ray.progress import Advance
from fer_ray.sweep.blocks import FOUND, Limits, describe_block, hash_block
from fer_ray.sweep.commits import ReadingCommits, ResultCommits
from fer_ray.sweep.describe import failed_rows
from fer_ray.sweep.fuse import FuseError
from fer_ray.sweep.state import Sweep, stop_here

if TYPE_CHECKING:
    from fer_ray.sweep.metrics import Metrics

HASH_BLOCK = 256  # images: some 0.1 s of reading from a disk, 10 s from an object store
KILLED = "its worker died again and again"


def work(sweep: Sweep) -> None:
    """Read what is not known, then describe what has no results."""
    with sweep.record.timed("read"):
        _hash(sweep)
    stop_here(sweep)
    with sweep.record.timed("describe"):
        _describe_all(sweep)


def _hash(sweep: Sweep) -> None:
    """Read every image whose content is not known."""
    work = partial(hash_block, source=sweep.source, limits=_limits(sweep))
    commits = ReadingCommits(sweep)
    with sweep.progress("read", "images", sweep.ledger.count_to_hash()) as advance:
        try:
            for found in _run(sweep, work, sweep.ledger.to_hash(HASH_BLOCK), _unread_block):
                sweep.ledger.settle(found)
                commits.add(found)
                sweep.record.read += found.num_rows
                advance(found.num_rows)
        except BaseException:
            commits.flush()
            raise
    if sweep.stop():
        commits.flush()
    sweep.ledger.take_found()


def _describe_all(sweep: Sweep) -> None:
    """Describe each content that has no results, and commit as it goes.

    Contents that change meanwhile are found on the way: their paths are looked at again, until
    every path has its result. Each round settles at least the paths that it tried.
    """
    from fer_ray.sweep.metrics import Metrics

    metrics = Metrics()
    commits = ResultCommits(sweep, metrics.committed)
    sweep.record.sample()
    with sweep.progress("describe", "images", sweep.ledger.count_to_describe()) as advance:
        try:
            while sweep.ledger.count_to_describe() and not sweep.stop():
                _describe_round(sweep, commits, metrics, advance)
        except FuseError:  # nothing of it is kept
            raise
        except BaseException:  # the source is lost, or a person ends it: what is done is kept
            commits.flush()
            raise
        commits.flush()


def _describe_round(
    sweep: Sweep, commits: ResultCommits, metrics: "Metrics", advance: Advance
) -> None:
    from fer_ray.pipeline import block_size

    work = partial(
        describe_block, source=sweep.source, describe=sweep.describe, limits=_limits(sweep)
    )
    total, workers = sweep.ledger.count_to_describe(), sweep.record.workers
    size = sweep.settings.execution.block_images or block_size(total, workers)
    blocks = sweep.ledger.to_describe(size)
    for results, found, planned in _run(sweep, work, blocks, _crashed_block):
        sweep.ledger.settle(found)
        sweep.fuse.note(results)
        taken = commits.add(results, planned)
        outcomes = sweep.record.note(taken)
        total -= outcomes.total()
        metrics.described(outcomes, total)
        so_far = sweep.record.outcomes.most_common()
        advance(outcomes.total(), ", ".join(f"{count} {status}" for status, count in so_far))
    sweep.ledger.take_found()


def _limits(sweep: Sweep) -> Limits:
    return Limits(sweep.settings.extract.decode.max_bytes, sweep.settings.sweep.image_seconds)


def _run(
    sweep: Sweep,
    work: Callable[[pa.Table], Any],
    blocks: Iterator[pa.Table],
    lost: Callable[[pa.Table], Any],
) -> Iterator[Any]:
    from fer_ray.sweep.pool import run_blocks

    return run_blocks(work, blocks, sweep.settings.execution.workers, sweep.stop, lost)


def _unread_block(block: pa.Table) -> pa.Table:
    rows = [
        {"path": path, "status": Status.CRASHED.value, "stage": Stage.DECODE.value, "error": KILLED}
        for path in block["path"].to_pylist()
    ]
    return pa.Table.from_pylist(rows, schema=FOUND)


def _crashed_block(block: pa.Table) -> tuple[pa.Table, pa.Table, set[str]]:
    contents = block["sha256"].to_pylist()
    failed = failed_rows(contents, Status.CRASHED, Stage.DECODE, KILLED)
    return failed, FOUND.empty_table(), set(contents)
