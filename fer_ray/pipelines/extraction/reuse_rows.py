"""Reuse of the rows of known contents when the source of an extraction has changed."""

import hashlib
import logging
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from fer_ray.schemas import LISTING_FIELDS
from fer_ray.sources.datasets.listing import Listing
from fer_ray.sources.pixel_tables import is_entry, read_entry
from fer_ray.storage.environment import available_cpus
from fer_ray.storage.parquet import read_table, table_files
from fer_ray.storage.paths import is_object
from fer_ray.storage.run_folder import RunFolder
from fer_ray.storage.staging import StagedRows
from fer_ray.vocabulary import ERROR_STATUSES

logger = logging.getLogger(__name__)


def reuse_rows(listing: Listing, run: RunFolder, staged: StagedRows, schema: pa.Schema) -> int:
    """Stage the rows of images whose content has a row in `run`, under any path.

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
    listed = {field.name for field in LISTING_FIELDS}
    outcomes = [name for name in schema.names if name not in listed]
    contents = pa.array(_known_contents(listing, run), pa.string())
    reused = 0
    for positions, rows in match_rows(contents, _described_rows(run, outcomes), "sha256"):
        table = listing.table.take(positions)
        for name in outcomes:
            table = table.append_column(name, rows[name])
        staged.write_at(table.select(schema.names).cast(schema), positions)
        reused += len(positions)
    logger.info("reusing the rows of %d known images", reused)
    return reused


def match_rows(
    keys: pa.Array, tables: Iterable[pa.Table], column: str
) -> Iterator[tuple[NDArray[np.int64], pa.Table]]:
    """Find rows by their keys.

    Args:
        keys: The keys to find; null for positions that need no row.
        tables: Tables whose `column` contains keys.
        column: Name of the column.

    Yields:
        Positions in `keys`, ascending, and the rows with these keys. Each position at most once.
    """
    for table in tables:
        found = pc.index_in(keys, table[column], skip_nulls=True)
        if found.null_count < len(found):
            yield np.flatnonzero(found.is_valid()), table.take(found.drop_null())
            keys = pc.if_else(found.is_valid(), pa.scalar(None, keys.type), keys)


def _described_rows(run: RunFolder, columns: list[str]) -> Iterator[pa.Table]:
    """The rows of the frames, file by file, without those that could not be processed."""
    failed = pa.array([status.value for status in ERROR_STATUSES])
    for file in table_files(run.frames):
        rows = read_table(file, columns=columns)
        yield rows.filter(pc.invert(pc.is_in(rows["status"], failed)))


def _known_contents(listing: Listing, run: RunFolder) -> list[str | None]:
    """The SHA-256 of each listed file if `run` may have its content, otherwise None.

    A file with the path, size and time of an earlier one is not read. Any other file is hashed if
    an earlier one had the same size.
    """
    if not run.frames_files.is_file():
        return [None] * listing.table.num_rows
    files = read_table(run.frames_files)
    hashes = read_table(run.frames, columns=["sha256"])["sha256"].to_pylist()
    unchanged = dict(zip(_file_keys(files), hashes, strict=True))
    sizes = {size for (_, size, _), content in unchanged.items() if size > 0 and content}
    listed = _file_keys(listing.files())
    contents = [unchanged.get(key) for key in listed]
    unknown = [
        position
        for position, (key, content) in enumerate(zip(listed, contents, strict=True))
        if content is None and key[1] in sizes
    ]
    with ThreadPoolExecutor(available_cpus()) as pool:
        paths = [listing.root / listed[position][0] for position in unknown]
        for position, content in zip(unknown, pool.map(_sha256_of_file, paths), strict=True):
            contents[position] = content
    return contents


def _file_keys(files: pa.Table) -> list[tuple[str, int, int]]:
    columns = (files[name].to_pylist() for name in ("path", "size", "mtime_ns"))
    return list(zip(*columns, strict=True))


def _sha256_of_file(file: Path) -> str | None:
    """Hex SHA-256 of a file; None if it cannot be read, which its extraction then reports."""
    try:
        if is_object(file):
            return hashlib.sha256(file.read_bytes()).hexdigest()
        if is_entry(file):
            return hashlib.sha256(read_entry(file)).hexdigest()
        with file.open("rb") as stream:
            return hashlib.file_digest(stream, "sha256").hexdigest()
    except OSError:
        return None
