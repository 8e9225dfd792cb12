"""Extraction on Ray Data: decode → crop → landmarks → features → Parquet.

All steps of a block are fused into one task: pixels never leave their process, and no pool of
workers can starve another, for any number of CPUs. A task finishes by storing its rows as one file,
which a resumed job does not compute again.
"""

from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import ray
from numpy.typing import NDArray
from ray.data import TaskPoolStrategy
from ray.data.exceptions import ExecutionTimeoutError

from fer_ray.errors import UserError
from fer_ray.execution.resources import WAIT_S, ResourceWait, processor_share
from fer_ray.execution.session import (
    not_shared_message,
    require_reachable,
    require_same,
    require_shared,
)
from fer_ray.features import steps
from fer_ray.schemas import frames_schema
from fer_ray.settings.extraction import Decode, ExtractSettings
from fer_ray.settings.feature_sets import FEATURE_SETS
from fer_ray.storage.staging import StagedRows
from fer_ray.vocabulary import Status

POSITION = "position"  # column: position of a row in the listing
LEAST_BLOCK_IMAGES = 8  # smaller blocks are mostly overhead
TAPER = 4  # the last blocks have at least 1 / TAPER of the images of the first ones
BATCH_IMAGES = 8  # decoded images in the memory of a task
STUCK = (
    "No block has finished for {:g} minutes. Run `ray status` on the head node of the cluster to "
    "see what it waits for. Finished work is stored: rerun the same command to resume."
)


def extract_blocks(
    blocks: list[pa.Table],
    root: Path,
    settings: ExtractSettings,
    staged: StagedRows,
    workers: int | None = None,
    batch_images: int = BATCH_IMAGES,
    predict: Callable[[pa.Table], pa.Table] | None = None,
    schema: pa.Schema | None = None,
) -> Iterator[int]:
    """Extract listed rows block by block, and store them in `staged`.

    Args:
        blocks: Listed rows with their `POSITION`; a block is the work of one task.
        root: Folder that their `path` is relative to, the same on every node.
        settings: Settings that define the rows.
        staged: Where finished rows are stored.
        workers: Tasks at a time. None: as many as the cluster has CPUs, also as it grows.
        batch_images: Decoded images in the memory of a task. Does not affect results.
        predict: Adds the columns of a model's predictions to finished rows. None: no predictions.
        schema: Columns to store. None: all that `settings` define.

    Yields:
        Numbers of rows as they are stored.

    Raises:
        UserError: Storage is not shared by all nodes, or the model cannot predict.
    """
    batch_images = min(batch_images, max(block.num_rows for block in blocks))  # else Ray joins them
    driver = ray.get_runtime_context().get_node_id()
    decode = partial(
        decode_shared, root=root, limits=settings.decode, staged=staged.folder, driver=driver
    )
    crop = partial(steps.crop, settings=settings.crop)
    landmarks = partial(steps.landmarks, settings=settings.landmarks, size_px=settings.crop.size_px)
    features = partial(steps.features, sets=settings.features.sets, size_px=settings.crop.size_px)
    schema = schema or extraction_schema(settings)
    write = partial(write_batch, staged=staged, schema=schema, predict=predict)
    options = {
        "batch_format": "pyarrow",
        "compute": TaskPoolStrategy(size=workers),
        "num_cpus": processor_share(),
    }
    results = (
        ray.data.from_blocks(blocks)  # from_arrow would request a CPU per block to inspect it
        .map_batches(decode, batch_size=batch_images, **options)
        .map_batches(crop, batch_size=batch_images, **options)
        .map_batches(landmarks, batch_size=batch_images, **options)
        .map_batches(features, batch_size=batch_images, **options)
        .map_batches(write, batch_size=None, **options)
    )
    try:
        yield from count_written(results)
    except ray.exceptions.RayTaskError as problem:
        require_shared(staged.folder, root)  # Ray hides which of its errors this was
        if not_shared_message(root) in str(problem):
            raise UserError(not_shared_message(root)) from None
        raise


def decode_shared(
    table: pa.Table, root: Path, limits: Decode, staged: Path, driver: str
) -> pa.Table:
    """`steps.decode`, on a node with access to the images and the run folder.

    Args:
        table: Listed rows.
        root: Folder that their `path` is relative to.
        limits: Decoding limits.
        staged: Folder of finished rows.
        driver: Id of the node that listed the images.

    Raises:
        UserError: The node has no access, so its rows would be wrong or lost.
    """
    require_reachable(root, staged.parent)
    decoded = steps.decode(table, root, limits)
    unreadable = pc.equal(decoded["status"], Status.UNREADABLE.value)
    require_same(root, decoded.filter(unreadable)["path"].to_pylist(), driver)
    return decoded


def extraction_schema(settings: ExtractSettings) -> pa.Schema:
    """Schema of the rows that `settings` define."""
    return frames_schema({name: FEATURE_SETS[name].width for name in settings.features.sets})


def write_batch(
    table: pa.Table,
    staged: StagedRows,
    schema: pa.Schema,
    predict: Callable[[pa.Table], pa.Table] | None = None,
) -> pa.Table:
    """Store finished rows, with a model's predictions if required; returns a `task_result`."""
    try:
        table = table if predict is None else predict(table)
    except UserError as problem:
        return task_result(0, str(problem))
    rows = table.select(schema.names).cast(schema)
    return write_rows(rows, table[POSITION].to_numpy(), staged)


def write_rows(rows: pa.Table, positions: NDArray[np.int64], staged: StagedRows) -> pa.Table:
    """Store rows at these positions; returns a `task_result`.

    Ray may combine rows of several blocks in one batch.
    """
    staged.write_at(rows, positions)
    return task_result(rows.num_rows)


def task_result(rows: int, error: str | None = None) -> pa.Table:
    """The result of a task: the number of rows that it stored, and a user-facing error or None.

    Errors are returned as values, because Ray reduces a raised one to a traceback.
    """
    return pa.table({"rows": [rows], "error": pa.array([error], pa.string())})


def count_written(results: ray.data.Dataset) -> Iterator[int]:
    """The numbers of rows in task results, as these arrive.

    Raises:
        UserError: A task returned an error, or none has finished for `WAIT_S`.
    """
    try:
        with ResourceWait().warnings():
            for batch in results.iter_batches(batch_size=None, batch_format="pyarrow"):
                for error in batch["error"].drop_null().to_pylist():
                    raise UserError(error)
                yield sum(batch["rows"].to_pylist())
    except ExecutionTimeoutError:
        raise UserError(STUCK.format(WAIT_S / 60)) from None


def block_size(images: int, workers: int, blocks_per_worker: int = 8) -> int:
    """Images per block, such that workers seldom wait for work.

    A worker waits some 0.15 s between two blocks, and needs some 0.03 to 0.15 s per image. A block
    of more than 128 images is much work to repeat after a failure.

    Args:
        images: Number of images.
        workers: Number of workers.
        blocks_per_worker: Minimum number of blocks per worker.
    """
    return min(128, max(LEAST_BLOCK_IMAGES, images // (blocks_per_worker * workers)))


def _least_block(images: int) -> int:
    return max(LEAST_BLOCK_IMAGES, images // TAPER)


def split_blocks(
    table: pa.Table, staged: StagedRows, block_images: int, workers: int | None = None
) -> list[pa.Table]:
    """Divide the rows of a listing that are not stored yet into blocks, with their positions.

    Args:
        table: The listing.
        staged: Rows stored so far.
        block_images: Images per block.
        workers: Makes blocks smaller towards the end, so that this number of workers finish at the
            same time. None: all blocks have the same size.
    """
    numbered = table.append_column(POSITION, pa.array(np.arange(table.num_rows), pa.int64()))
    ranges = list(staged.missing(table.num_rows))
    left = sum(stop - start for start, stop in ranges)
    blocks = []
    for start, stop in ranges:
        while start < stop:
            size = block_images
            if workers:
                size = min(size, max(_least_block(size), left // (2 * workers)))
            blocks.append(numbered.slice(start, min(size, stop - start)))
            start += blocks[-1].num_rows
            left -= blocks[-1].num_rows
    return blocks
