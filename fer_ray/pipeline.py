"""The chain: decode → crop → landmarks → features → Parquet, on Ray Data.

All steps of a block fuse into one task, so pixels never leave their process and no pool of actors
can starve another, whatever the number of processors. A task ends by keeping its rows as one file;
what a killed job has kept, the next one need not do.
"""

from collections.abc import Callable, Iterator
from functools import partial
from itertools import pairwise
from pathlib import Path

import numpy as np
import pyarrow as pa
import ray
from ray.data import TaskPoolStrategy

from fer_ray.config import Decode, ExtractSettings
from fer_ray.contracts import frames_schema
from fer_ray.data.store import StagedRows, unreachable
from fer_ray.errors import UserError
from fer_ray.features import steps
from fer_ray.features.table import FEATURE_SETS
from fer_ray.runtime import not_shared, processor_share, require_shared

POSITION = "position"  # of a row in the listing
BATCH_IMAGES = 8  # decoded images that a task holds at a time


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
    """
    decode = partial(decode_shared, root=root, limits=settings.decode, kept=staged.folder)
    crop = partial(steps.crop, settings=settings.crop)
    landmarks = partial(steps.landmarks, settings=settings.landmarks, size_px=settings.crop.size_px)
    features = partial(steps.features, sets=settings.features.sets, size_px=settings.crop.size_px)
    keep = partial(keep_rows, staged=staged, schema=kept or schema(settings), answer=answer)
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
        .map_batches(keep, batch_size=blocks[0].num_rows, **how)
    )
    try:
        for receipt in receipts.iter_batches(batch_size=None, batch_format="pyarrow"):
            yield sum(receipt["rows"].to_pylist())
    except ray.exceptions.RayTaskError:
        require_shared(staged.folder, root)  # Ray hides which of its errors this was
        raise


def decode_shared(table: pa.Table, root: Path, limits: Decode, kept: Path) -> pa.Table:
    """`steps.decode`, on a node that sees the images and the run folder.

    Raises:
        UserError: It does not: its rows would be wrong, or lost.
    """
    for folder in unreachable([root, kept.parent]):
        raise UserError(not_shared(folder))
    return steps.decode(table, root, limits)


def schema(settings: ExtractSettings) -> pa.Schema:
    """Schema of the rows that `settings` make."""
    return frames_schema({name: FEATURE_SETS[name].width for name in settings.features.sets})


def keep_rows(
    table: pa.Table,
    staged: StagedRows,
    schema: pa.Schema,
    answer: Callable[[pa.Table], pa.Table] | None = None,
) -> pa.Table:
    """Keep finished rows, with a model's answers where one is asked; hand on their number alone.

    Ray may put rows of several blocks into one batch; each run of neighbouring positions becomes a
    file of its own.
    """
    table = table if answer is None else answer(table)
    positions = table[POSITION].to_numpy()
    breaks = np.flatnonzero(np.diff(positions) != 1) + 1
    for start, stop in pairwise([0, *breaks.tolist(), table.num_rows]):
        rows = table.slice(start, stop - start).select(schema.names).cast(schema)
        staged.write(rows, int(positions[start]))
    return pa.table({"rows": [table.num_rows]})


def block_size(images: int, workers: int) -> int:
    """Images of a block, so that no worker is left waiting long for the last one.

    A task costs Ray some 20 ms and an image some 100 ms; a block of fewer than 8 images is mostly
    overhead, and one of more than 128 is much to do again after a failure.
    """
    return min(128, max(8, images // (16 * workers)))


def split_blocks(table: pa.Table, staged: StagedRows, block_images: int) -> list[pa.Table]:
    """The rows of a listing that are not kept yet, with their positions, in blocks."""
    numbered = table.append_column(POSITION, pa.array(np.arange(table.num_rows), pa.int64()))
    return [
        numbered.slice(start, min(block_images, stop - start))
        for begin, stop in staged.missing(table.num_rows)
        for start in range(begin, stop, block_images)
    ]
