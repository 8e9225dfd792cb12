"""Extraction of listed images: blocks, the task that extracts one, and the executors that run it.

A block is the unit of work, of retrying and of resuming. Its task sends each image to the guarded
child process of its worker, which decodes it and runs all further steps. Pixels never leave that
process, and a file that crashes a decoder loses only its own row. The task stores the rows of the
block as one file. Ray runs the tasks on a machine or a cluster; up to `MOST_IN_PROCESS` images
are extracted without Ray, by threads of this process, with the same rows.
"""

import os
import pickle
import queue
import threading
from collections.abc import Iterator
from contextlib import ExitStack, closing
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from fer_ray.execution.guard import Describe, Fault, Guard, describe_guarded, shared_guard
from fer_ray.execution.signals import handle_sigterm, terminate
from fer_ray.execution.task_runner import WORKER_DIED
from fer_ray.features.image_steps import ModelStep
from fer_ray.schemas import complete_columns, frames_schema
from fer_ray.settings.extraction import ExtractSettings
from fer_ray.settings.feature_sets import FEATURE_SETS
from fer_ray.settings.root import Execution
from fer_ray.sources.image_files import require_available
from fer_ray.storage.environment import available_cpus
from fer_ray.storage.paths import is_object
from fer_ray.storage.staging import POSITION, StagedRows
from fer_ray.vocabulary import Stage, Status

# Largest number of images for which starting Ray costs more than it gains, without RAY_ADDRESS.
MOST_IN_PROCESS = 2_000


@dataclass(frozen=True)
class ExtractBlock:
    """The task of one block: extracts its images and stores the rows.

    Attributes:
        extract: Extracts one listed image, given as root folder and row; runs in the guarded child
            process.
        root: Folder that the listed paths are relative to, the same on every node.
        staged: Where rows are stored.
        schema: Columns to store.
        predict: Appends predictions to extracted rows, in this process.
        constants: Values of columns that every row has, even a row without a result.
    """

    extract: Describe
    root: Path
    staged: StagedRows
    schema: pa.Schema
    predict: ModelStep | None = None
    constants: tuple[tuple[str, str], ...] = ()

    def rows(self, guard: Guard, block: pa.Table) -> pa.Table:
        """Extract the images of a block of listed rows with their `POSITION`.

        Returns:
            One or more rows per image, in the order of the block: all columns of `schema`, and the
            `POSITION` of the image.

        Raises:
            UserError: The child process cannot work, because a model is missing or memory is short.
        """
        schema = self.schema.append(block.schema.field(POSITION))
        extracted, tables = [], []
        for number in range(block.num_rows):
            image = block.slice(number, 1)
            listed = image.drop_columns([POSITION])
            answer = describe_guarded(guard, (self.root, listed))
            if is_object(self.root) and _was_not_read(answer):
                require_available(self.root)
            if isinstance(answer, Fault):
                tables.append(complete_columns(self._failed_row(image, answer), schema))
            else:
                position = image[POSITION].take([0] * answer.num_rows)
                extracted.append(answer.append_column(POSITION, position))
        if extracted:
            rows = pa.concat_tables(extracted)
            rows = rows if self.predict is None else self.predict(rows)
            tables.append(complete_columns(rows, schema))
        return pa.concat_tables(tables).sort_by(POSITION)  # a stable sort

    def write(self, rows: pa.Table) -> int:
        """Store the rows of a block, and return the number of its images."""
        positions = rows[POSITION].to_numpy()
        self.staged.write_at(rows.drop_columns([POSITION]), positions)
        return len(np.unique(positions))

    def crashed_rows(self, block: pa.Table) -> pa.Table:
        """Return the rows of images that no worker survives, like `rows`."""
        fault = Fault(Status.CRASHED, Stage.DECODE, WORKER_DIED)
        schema = self.schema.append(block.schema.field(POSITION))
        images = (block.slice(number, 1) for number in range(block.num_rows))
        rows = [complete_columns(self._failed_row(image, fault), schema) for image in images]
        return pa.concat_tables(rows)

    def _failed_row(self, image: pa.Table, fault: Fault) -> pa.Table:
        failure = {
            "face_index": 0,
            "status": fault.status.value,
            "stage": fault.stage or Stage.DECODE.value,
            "error": fault.error,
            **dict(self.constants),
        }
        for name, value in failure.items():
            image = image.append_column(name, pa.array([value]))
        return image


def _was_not_read(answer: pa.Table | Fault) -> bool:
    """Whether the bytes of an image did not arrive, in time or at all."""
    if isinstance(answer, Fault):
        return answer.status == Status.TIMED_OUT and answer.stage == Stage.DECODE
    return answer["status"][0].as_py() == Status.UNREADABLE and not answer["sha256"][0].is_valid


def runs_in_process(execution: Execution, size: int, most: int = MOST_IN_PROCESS) -> bool:
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
    os.environ.setdefault("OMP_NUM_THREADS", "1")  # as in a worker of Ray, with the same rounding
    workers = min(execution.workers or available_cpus(), len(blocks))
    left: queue.SimpleQueue[pa.Table] = queue.SimpleQueue()
    for block in blocks:
        left.put(block)
    results: queue.SimpleQueue[int | BaseException] = queue.SimpleQueue()
    describe = pickle.dumps(task.extract)
    with ExitStack() as stack:
        for _ in range(workers):
            guard = stack.enter_context(closing(Guard(describe, execution.image_seconds)))
            arguments = (task, guard, left, results)
            threading.Thread(target=_work, args=arguments, daemon=True).start()
        if task.predict is not None:
            task.predict.load()  # while the child processes start
        for _ in blocks:
            result = results.get()
            if isinstance(result, BaseException):
                raise result
            yield result


def _work(
    task: ExtractBlock,
    guard: Guard,
    left: "queue.SimpleQueue[pa.Table]",
    results: "queue.SimpleQueue[int | BaseException]",
) -> None:
    try:
        while True:
            block = left.get_nowait()
            results.put(task.write(task.rows(guard, block)))
    except queue.Empty:
        return
    except BaseException as problem:
        results.put(problem)


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

    from fer_ray.execution.block_tasks import run_tasks
    from fer_ray.execution.session import require_shared

    extract = partial(
        _extract_on_node,
        task=task,
        describe=pickle.dumps(task.extract),
        image_seconds=execution.image_seconds,
        driver=ray.get_runtime_context().get_node_id(),
    )
    stop = threading.Event()
    try:
        with handle_sigterm(lambda *_: stop.set()):
            yield from run_tasks(
                extract, iter(blocks), execution.workers, stop.is_set,
                split=lambda block: [block.slice(row, 1) for row in range(block.num_rows)],
                lost=lambda block: task.write(task.crashed_rows(block)), stopping=terminate,
            )  # fmt: skip
    except OSError:
        require_shared(task.staged.folder, task.root)
        raise


def _extract_on_node(
    block: pa.Table,
    task: ExtractBlock,
    describe: bytes,
    image_seconds: float,
    driver: str,
) -> int:
    """Run the task of a block, on a node with access to the images and the run folder.

    Raises:
        UserError: The node has no access, so its rows would be wrong or lost.
    """
    from fer_ray.execution.session import require_reachable, require_same

    require_reachable(task.root, task.staged.folder.parent)
    rows = task.rows(shared_guard(describe, image_seconds), block)
    unreadable = pc.equal(rows["status"], Status.UNREADABLE.value)
    require_same(task.root, rows.filter(unreadable)["path"].to_pylist(), driver)
    return task.write(rows)


def extraction_schema(settings: ExtractSettings) -> pa.Schema:
    """Schema of the rows that `settings` define."""
    return frames_schema({name: FEATURE_SETS[name].width for name in settings.features.sets})
