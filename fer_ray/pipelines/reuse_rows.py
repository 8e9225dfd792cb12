"""Reuse of the rows of unchanged images when the source of an extraction has changed."""

import logging

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from fer_ray.schemas import LISTING_FIELDS
from fer_ray.sources.datasets.listing import Listing
from fer_ray.storage.parquet import read_table
from fer_ray.storage.run_folder import RunFolder
from fer_ray.storage.staging import POSITION, StagedRows
from fer_ray.vocabulary import ERROR_STATUSES

logger = logging.getLogger(__name__)


def reuse_rows(listing: Listing, run: RunFolder, staged: StagedRows, schema: pa.Schema) -> int:
    """Stage the rows of images whose file has the same path, size and time as in `run`.

    Rows of images that could not be read or processed are not reused. Labels and subjects come
    from the new listing.

    Args:
        listing: The new listing.
        run: Run folder with the frames of an earlier extraction with the same settings.
        staged: Where rows are stored by their position in the new listing.
        schema: Schema of the frames.

    Returns:
        The number of rows that are reused.
    """
    if not run.frames_files.is_file():
        return 0
    unchanged = _unchanged_positions(listing, read_table(run.frames_files))
    if not len(unchanged):
        return 0
    listed = {field.name for field in LISTING_FIELDS}
    outcomes = [name for name in schema.names if name not in listed]
    reused = 0
    for file in sorted(run.frames.glob("*.parquet")):
        rows = read_table(file, columns=["path", *outcomes])
        failed = pc.is_in(rows["status"], pa.array([str(status) for status in ERROR_STATUSES]))
        rows = rows.filter(pc.invert(failed))
        at = pc.index_in(rows["path"], unchanged["path"])
        rows = rows.filter(at.is_valid())
        positions = unchanged[POSITION].take(at.drop_null()).to_numpy()
        if not len(positions):
            continue
        order = np.argsort(positions)
        table = listing.table.take(positions[order])
        for name in outcomes:
            table = table.append_column(name, rows[name].take(order))
        staged.write_at(table.select(schema.names).cast(schema), positions[order])
        reused += len(positions)
    logger.info("reusing the rows of %d unchanged images", reused)
    return reused


def _unchanged_positions(listing: Listing, earlier: pa.Table) -> pa.Table:
    """Paths and positions of the listed images whose files have not changed."""
    files = listing.files().append_column(
        POSITION, pa.array(np.arange(listing.table.num_rows), pa.int64())
    )
    keys = ["path", "size", "mtime_ns"]
    return files.join(earlier.select(keys), keys, join_type="inner").select(["path", POSITION])
