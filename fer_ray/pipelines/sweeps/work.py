"""The work of a sweep: images are read and hashed, and each new content described."""

import errno
import os
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from fer_ray.errors import SourceLostError, UserError
from fer_ray.execution.claims import MOST_KNOWN
from fer_ray.execution.progress import Advance
from fer_ray.execution.session import not_shared, several_nodes
from fer_ray.pipelines.sweeps.blocks import FOUND, Limits, describe_block, read_block
from fer_ray.pipelines.sweeps.commits import ReadingCommits, ResultCommits
from fer_ray.pipelines.sweeps.context import Sweep, stop_here
from fer_ray.pipelines.sweeps.describe import failed_rows
from fer_ray.pipelines.sweeps.fuse import FAULTS, FuseError
from fer_ray.sources.reading import witnessed
from fer_ray.storage.files import unreachable
from fer_ray.vocabulary import Stage, Status

KILLED = "its worker died again and again"
WITNESSES = 4  # that are tried of the images known, and of those to do
NO_FILE = os.strerror(errno.ENOENT)  # as the row of an image says that is not there


class _Work:
    """What the steps of the work share."""

    def __init__(self, sweep: Sweep) -> None:
        from fer_ray.execution.prometheus import Metrics

        self.sweep = sweep
        self.metrics = Metrics()
        self.commits = ResultCommits(sweep, self.metrics.committed)
        self.readings = ReadingCommits(sweep)

    def take(self, results: pa.Table, planned: set[str], left: int) -> tuple[int, str]:
        """Keep the results of a block; how many contents that were, and a line of counts so far."""
        sweep = self.sweep
        sweep.fuse.note(self._not_failed_again(results))
        outcomes = sweep.record.note(self.commits.add(results, planned))
        self.metrics.described(outcomes, left - outcomes.total())
        so_far = sweep.record.outcomes.most_common()
        return outcomes.total(), ", ".join(f"{count} {status}" for status, count in so_far)

    def flush(self) -> None:
        """Commit what is described, and what was read meanwhile."""
        self.commits.flush()
        self.readings.flush()

    def _not_failed_again(self, results: pa.Table) -> pa.Table:
        """Without what failed before: that it does again is no sign of a broken installation."""
        again = pc.is_in(results["sha256"], self.commits.retried)
        failed = pc.is_in(results["status"], pa.array([str(one) for one in FAULTS]))
        return results.filter(pc.invert(pc.and_(again, failed)))


def work(sweep: Sweep) -> None:
    """Read what is not known and describe what is new of it; then what else has no results."""
    at_work = _Work(sweep)
    asked = sweep.ledger.some_known(WITNESSES) + sweep.ledger.some_to_do(WITNESSES)
    sweep.source = witnessed(sweep.source, asked, sweep.settings.sweep.image_seconds)
    sweep.record.sample()
    try:
        with sweep.record.timed("read"):
            _read_all(at_work)
        stop_here(sweep)
        with sweep.record.timed("describe"):
            _describe_all(at_work)
    except FuseError:  # nothing of it is kept
        raise
    except BaseException:  # the source is lost, or a person ends it: what is done is kept
        at_work.flush()
        raise
    at_work.commits.flush()  # publishing makes what was read known


def _read_all(at_work: _Work) -> None:
    """Read every image whose content is not known, and describe it then if it is new."""
    from fer_ray.execution.block_tasks import asking

    sweep = at_work.sweep
    total = sweep.ledger.count_to_hash()
    if not total:
        return
    work = partial(
        read_block, source=sweep.source, describe=sweep.describe, limits=_limits(sweep),
        claim=asking(sweep.ledger.keys(MOST_KNOWN)),
    )  # fmt: skip
    blocks = sweep.ledger.to_hash(_block(sweep, total))
    with sweep.progress("read", "images", total) as advance:
        for results, found in _run(sweep, work, blocks, _unread_block, at_work.flush):
            _require_shared(sweep, found)
            sweep.ledger.settle(found)
            at_work.readings.add(found)
            sweep.record.read += found.num_rows
            total -= found.num_rows
            contents = set(results["sha256"].to_pylist())
            _, told = at_work.take(results, contents, total + len(contents))
            advance(found.num_rows, told)
    sweep.ledger.take_found()


def _describe_all(at_work: _Work) -> None:
    """Describe each content that has no results still, and commit as it goes.

    Contents that change meanwhile are found on the way: their paths are looked at again, until
    every path has its result. Each round settles at least the paths that it tried.
    """
    sweep = at_work.sweep
    total = sweep.ledger.count_to_describe()
    if not total:
        return
    with sweep.progress("describe", "images", total) as advance:
        while total and not sweep.stop():
            _describe_round(at_work, total, advance)
            total = sweep.ledger.count_to_describe()


def _describe_round(at_work: _Work, total: int, advance: Advance) -> None:
    sweep = at_work.sweep
    work = partial(
        describe_block, source=sweep.source, describe=sweep.describe, limits=_limits(sweep)
    )
    blocks = sweep.ledger.to_describe(_block(sweep, total))
    for results, found, planned in _run(sweep, work, blocks, _crashed_block, at_work.flush):
        _require_shared(sweep, found)
        sweep.ledger.settle(found)
        done, told = at_work.take(results, planned, total)
        total -= done
        advance(done, told)
    sweep.ledger.take_found()


def _block(sweep: Sweep, total: int) -> int:
    from fer_ray.execution.chain import block_size

    return sweep.settings.execution.block_images or block_size(total, sweep.record.workers)


def _limits(sweep: Sweep) -> Limits:
    return Limits(sweep.settings.extract.decode.max_bytes, sweep.settings.sweep.image_seconds)


def _run(
    sweep: Sweep,
    work: Callable[[pa.Table], Any],
    blocks: Iterator[pa.Table],
    lost: Callable[[pa.Table], Any],
    stopping: Callable[[], None],
) -> Iterator[Any]:
    from fer_ray.execution.block_tasks import run_blocks

    workers = sweep.settings.execution.workers
    try:
        yield from run_blocks(work, blocks, workers, sweep.stop, lost, stopping)
    except SourceLostError:
        root, readable_here = Path(sweep.source.root), sweep.source.local and sweep.source.witness
        if readable_here and several_nodes() and not unreachable([root]):
            raise UserError(not_shared(root)) from None
        raise


def _require_shared(sweep: Sweep, found: pa.Table) -> None:
    """See that images that a node could not read are not there for the driver either.

    Raises:
        UserError: They are: that node's disk is another.
    """
    unread = found.filter(pc.equal(found["error"], NO_FILE))["path"].to_pylist()
    if not unread or not sweep.source.local or not several_nodes():
        return
    root = Path(sweep.source.root)
    if any(_opens(root / path) for path in unread):
        raise UserError(not_shared(root))


def _opens(file: Path) -> bool:
    """Whether it is there: opening asks the server, where a look may be answered from memory."""
    try:
        with file.open("rb"):
            return True
    except OSError:
        return False


def _unread_block(block: pa.Table) -> tuple[pa.Table, pa.Table]:
    told = {"status": Status.CRASHED.value, "stage": Stage.DECODE.value, "error": KILLED}
    rows = [{**row, **told} for row in block.to_pylist()]
    return failed_rows([], Status.CRASHED, "", ""), pa.Table.from_pylist(rows, schema=FOUND)


def _crashed_block(block: pa.Table) -> tuple[pa.Table, pa.Table, set[str]]:
    contents = block["sha256"].to_pylist()
    failed = failed_rows(contents, Status.CRASHED, Stage.DECODE, KILLED)
    return failed, FOUND.empty_table(), set(contents)
