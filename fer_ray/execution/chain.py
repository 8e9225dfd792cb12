"""Extraction of blocks of listed images: the executors that run `ExtractBlock`.

Ray runs the tasks on a machine or a cluster; up to `MAX_IN_PROCESS` images are extracted without
Ray, by threads of this process, with the same rows.
"""

import os
import pickle
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial

import pyarrow as pa
import pyarrow.compute as pc

from fer_ray.errors import SourceLostError
from fer_ray.execution.extract_block import ExtractBlock
from fer_ray.execution.guard import Guard, borrow_guard, trim_idle_guards
from fer_ray.execution.signals import handle_sigterm, terminate
from fer_ray.execution.tasks.thread_runner import do_nothing, run_in_threads, run_meanwhile
from fer_ray.settings.root import Execution
from fer_ray.storage.environment import available_cpus
from fer_ray.vocabulary import Status

# Largest number of images for which starting Ray costs more than it gains, without RAY_ADDRESS.
MAX_IN_PROCESS = 2_000


def runs_in_process(execution: Execution, size: int, most: int = MAX_IN_PROCESS) -> bool:
    """Return whether work is done without Ray.

    Args:
        execution: The executor.
        size: Size of the work, such as its number of images.
        most: Largest size that is worth doing without Ray.
    """
    if execution.executor != "auto":
        return execution.executor == "in-process"
    return size <= most and not os.environ.get("RAY_ADDRESS")


def extract_in_process(
    blocks: list[pa.Table], task: ExtractBlock, execution: Execution
) -> Iterator[int]:
    """Extract blocks without Ray, by as many threads as there are workers.

    Args:
        blocks: Listed rows with their `POSITION`.
        task: The work on a block.
        execution: Workers, and the time limit of an image.

    Yields:
        Numbers of images as their rows are stored.

    Raises:
        UserError: As for `ExtractBlock`.
    """
    steps, workers = pickle.dumps(task.extract), execution.workers or available_cpus()

    def extract(block: pa.Table) -> int:
        with borrow_guard(steps, execution.image_seconds) as guard:
            return task.write(task.rows(guard, block))

    # The model loads while the child processes start.
    load = do_nothing if task.predict is None else task.predict.load
    try:
        yield from run_in_threads(extract, iter(blocks), min(workers, len(blocks)), started=load)
    finally:
        trim_idle_guards()


@contextmanager
def extract_meanwhile(
    blocks: list[pa.Table], task: ExtractBlock, execution: Execution
) -> Iterator[list[Counter[str]]]:
    """Extract blocks in a thread while the body of the `with` statement, the start of Ray, runs.

    Args:
        blocks: Listed rows with their `POSITION`, more than will be extracted.
        task: The work on a block.
        execution: The time limit of an image.

    Yields:
        Counts of images by status, one per block; complete once the `with` statement ends.

    Raises:
        UserError: As for `ExtractBlock`.
    """
    guard = Guard(pickle.dumps(task.extract), execution.image_seconds)

    def extract(block: pa.Table) -> Counter[str]:
        rows = task.rows(guard, block)
        task.write(rows)
        return task.statuses(rows)

    try:
        with run_meanwhile(extract, iter(blocks)) as statuses:
            yield statuses
    finally:
        guard.close()


def extract_on_ray(
    blocks: list[pa.Table], task: ExtractBlock, execution: Execution
) -> Iterator[int]:
    """Extract blocks on Ray.

    A block whose workers keep dying is divided into its images, and an image whose workers keep
    dying is `crashed`.

    Args:
        blocks: Listed rows with their `POSITION`.
        task: The work on a block.
        execution: Workers, and the time limit of an image.

    Yields:
        Numbers of images as their rows are stored.

    Raises:
        UserError: Storage is not shared by all nodes, or as for `ExtractBlock`.
        SystemExit: SIGTERM was received; rows of finished blocks are stored.
    """
    import ray

    from fer_ray.execution.cluster.shared_storage import require_shared
    from fer_ray.execution.tasks.block_tasks import run_tasks

    extract = partial(
        _extract_on_node,
        task=task,
        steps=pickle.dumps(task.extract),
        image_seconds=execution.image_seconds,
        driver=ray.get_runtime_context().get_node_id(),
    )
    stop = threading.Event()
    try:
        with handle_sigterm(lambda *_: stop.set()):
            yield from run_tasks(
                extract, iter(blocks), execution.workers, stop.is_set,
                split=lambda block: [block.slice(row, 1) for row in range(block.num_rows)],
                lost=partial(_write_crashed, task), stopping=terminate,
            )  # fmt: skip
    except OSError:
        require_shared(task.staged.folder, task.root)
        raise


def _write_crashed(task: ExtractBlock, block: pa.Table) -> int:
    """Store the rows of images that no worker survives, in the driver."""
    from fer_ray.execution.cluster.prometheus import count_extracted

    rows = task.crashed_rows(block)
    count_extracted(task.statuses(rows))
    return task.write(rows)


def _extract_on_node(
    block: pa.Table,
    task: ExtractBlock,
    steps: bytes,
    image_seconds: float,
    driver: str,
) -> int:
    """Run the task of a block, on a node with access to the images and the run folder.

    Raises:
        UserError: The node has no access, so its rows would be wrong or lost.
        SourceLostError: A folder of images is missing on the driver too, not only on this node.
    """
    from fer_ray.execution.cluster.prometheus import count_extracted
    from fer_ray.execution.cluster.shared_storage import require_reachable, require_same

    require_reachable(task.root, task.staged.folder.parent)
    try:
        with borrow_guard(steps, image_seconds) as guard:
            rows = task.rows(guard, block)
    except SourceLostError:
        require_same(task.root, block["path"].to_pylist(), driver)
        raise
    unreadable = pc.equal(rows["status"], Status.UNREADABLE.value)
    require_same(task.root, rows.filter(unreadable)["path"].to_pylist(), driver)
    count = task.write(rows)
    count_extracted(task.statuses(rows))
    return count
