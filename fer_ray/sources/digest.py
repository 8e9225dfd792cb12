"""TODO."""

import hashlib
from pathlib import Path

import pyarrow as pa


def table_digest(table: pa.Table, stats: list[tuple[int, int]]) -> str:
    """Hex SHA-256 over a listing and its files' sizes and times: changes when either does.

    Args:
        table: The listing.
        stats: Size in bytes and modification time in nanoseconds of each row's file.
    """
    digest = hashlib.sha256()
    for column in table.columns:
        digest.update(repr(column.to_pylist()).encode())
    digest.update(repr(stats).encode())
    return digest.hexdigest()


def file_stats(root: Path, paths: list[str]) -> list[tuple[int, int]]:
    """Size in bytes and modification time in nanoseconds of each file; (-1, -1) if it is gone."""
    return [_stat(root / path) for path in paths]


def _stat(file: Path) -> tuple[int, int]:
    try:
        stat = file.stat()
    except (OSError, ValueError):  # ValueError: a path with a null character
        return -1, -1
    return stat.st_size, stat.st_mtime_ns
