"""The chain: decode → crop → landmarks → features → Parquet, on Ray Data.

All steps of a block fuse into one task, so pixels never leave their process and no pool of actors
can starve another, whatever the number of processors. A task ends by keeping its rows as one file;
what a killed job has kept, the next one need not do.
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
from fer_ray.execution.resources import WAIT_S, Patience, processor_share
from fer_ray.execution.session import not_shared, require_reachable, require_same, require_shared
from fer_ray.features import steps
from fer_ray.schemas import frames_schema
from fer_ray.settings.extraction import Decode, ExtractSettings
from fer_ray.settings.feature_sets import FEATURE_SETS
from fer_ray.storage.staging import StagedRows
from fer_ray.vocabulary import Status

POSITION = "position"  # of a row in the listing
LEAST_BLOCK_IMAGES = 8  # a block of fewer is mostly overhead
TAPER = 4  # a block towards the end is at least this part of the others
BATCH_IMAGES = 8  # decoded images that a task holds at a time
STUCK = (
    "Nothing has come of the work for {:g} minutes. `ray status` on the cluster's head says what "
    "it waits for. What was finished is kept; run the same again."
)


def extract_blocks(
    blocks: list[pa.Table],
    root: Path,
    settings: ExtractSettings,
    staged: StagedRows,
    workers: int | None = None,
    batch_images: int = BATCH_IMAGES,
    answer: Callable[[pa.Table], pa.Table] | None = None,
    kept: pa.Schema | None = None,
) -> Iterator[int]:
    """Extract listed rows, block by block, and keep them in `staged`.

    Args:
        blocks: Listed rows with their `POSITION`; a block is the work of one task.
        root: Folder that their `path` is relative to, the same on every node.
        settings: What defines the rows.
        staged: Where finished rows are kept.
        workers: Tasks at a time. None: as many as the cluster has processors for, also as it grows.
        batch_images: Images that a task holds decoded at a time. Changes no result.
        answer: Appends a model's answers to finished rows. None: nothing is asked.
        kept: Columns that are kept. None: all that `settings` make.

    Yields:
        A number of rows, each time that so many more are kept.

    Raises:
        UserError: The storage is not shared by all nodes, or a model cannot answer.
    """
    batch_images = min(batch_images, max(block.num_rows for block in blocks))  # else Ray joins them
    here = ray.get_runtime_context().get_node_id()
    decode = partial(
        decode_shared, root=root, limits=settings.decode, kept=staged.folder, driver=here
    )
    crop = partial(steps.crop, settings=settings.crop)
    landmarks = partial(steps.landmarks, settings=settings.landmarks, size_px=settings.crop.size_px)
    features = partial(steps.features, sets=settings.features.sets, size_px=settings.crop.size_px)
    keeping = partial(keep, staged=staged, schema=kept or schema(settings), answer=answer)
    how = {
        "batch_format": "pyarrow",
        "compute": TaskPoolStrategy(size=workers),
        "num_cpus": processor_share(),
    }
    receipts = (
        ray.data.from_blocks(blocks)  # from_arrow asks for a processor per block, to look at it
        .map_batches(decode, batch_size=batch_images, **how)
        .map_batches(crop, batch_size=batch_images, **how)
        .map_batches(landmarks, batch_size=batch_images, **how)
        .map_batches(features, batch_size=batch_images, **how)
        .map_batches(keeping, batch_size=None, **how)
    )
    try:
        yield from rows_kept(receipts)
    except ray.exceptions.RayTaskError as problem:
        require_shared(staged.folder, root)  # Ray hides which of its errors this was
        if not_shared(root) in str(problem):
            raise UserError(not_shared(root)) from None
        raise


def decode_shared(table: pa.Table, root: Path, limits: Decode, kept: Path, driver: str) -> pa.Table:
    """`steps.decode`, on a node that sees the images and the run folder.

    Args:
        table: Listed rows.
        root: Folder that their `path` is relative to.
        limits: What may be decoded.
        kept: Folder of finished rows.
        driver: Id of the node that has listed the images.

    Raises:
        UserError: It does not: its rows would be wrong, or lost.
    """
    require_reachable(root, kept.parent)
    decoded = steps.decode(table, root, limits)
    require_same(root, _unreadable(decoded), driver)
    return decoded


def _unreadable(decoded: pa.Table) -> list[str]:
    unreadable = pc.equal(decoded["status"], Status.UNREADABLE.value)
    return decoded.filter(unreadable)["path"].to_pylist()  # type: ignore[no-any-return]


def schema(settings: ExtractSettings) -> pa.Schema:
    """Schema of the rows that `settings` make."""
    return frames_schema({name: FEATURE_SETS[name].width for name in settings.features.sets})


def keep(
    table: pa.Table,
    staged: StagedRows,
    schema: pa.Schema,
    answer: Callable[[pa.Table], pa.Table] | None = None,
) -> pa.Table:
    """Keep finished rows, with a model's answers where one is asked; hand on their number alone."""
    try:
        table = table if answer is None else answer(table)
    except UserError as mistake:
        return receipt(0, str(mistake))
    rows = table.select(schema.names).cast(schema)
    return keep_rows(rows, table[POSITION].to_numpy(), staged)


def keep_rows(rows: pa.Table, positions: NDArray[np.int64], staged: StagedRows) -> pa.Table:
    """Keep rows of these positions; a receipt with their number.

    Ray may put rows of several blocks into one batch.
    """
    staged.write_at(rows, positions)
    return receipt(rows.num_rows)


def receipt(rows: int, told: str | None = None) -> pa.Table:
    """What a task hands on: how many rows it has kept, or what a user is to be told.

    Of an error that is raised in a task Ray keeps no more than a traceback.
    """
    return pa.table({"rows": [rows], "told": pa.array([told], pa.string())})


def rows_kept(receipts: ray.data.Dataset) -> Iterator[int]:
    """The numbers of rows that receipts tell of, as they come.

    Raises:
        UserError: One tells of a mistake, or none has come for too long.
    """
    try:
        with Patience().telling():
            for some in receipts.iter_batches(batch_size=None, batch_format="pyarrow"):
                for told in some["told"].drop_null().to_pylist():
                    raise UserError(told)
                yield sum(some["rows"].to_pylist())
    except ExecutionTimeoutError:
        raise UserError(STUCK.format(WAIT_S / 60)) from None


def block_size(images: int, workers: int, each: int = 8) -> int:
    """Images of a block: enough of them that workers seldom wait for work.

    Between two blocks a worker waits some 0.15 s, and an image takes it some 0.03 to 0.15 s; a
    block of more than 128 images is much to do again after a failure.

    Args:
        images: To be done.
        workers: That do them.
        each: Blocks of each worker, at least.
    """
    return min(128, max(LEAST_BLOCK_IMAGES, images // (each * workers)))


def _least_block(images: int) -> int:
    return max(LEAST_BLOCK_IMAGES, images // TAPER)


def split_blocks(
    table: pa.Table, staged: StagedRows, block_images: int, workers: int | None = None
) -> list[pa.Table]:
    """The rows of a listing that are not kept yet, with their positions, in blocks.

    Args:
        table: The listing.
        staged: What is kept.
        block_images: Images of a block.
        workers: Blocks become smaller towards the end, so that so many workers end together. None:
            they do not.
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
