"""Damaged files, which libraries report in many ways, named in one message."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from fer_ray.errors import UserError
from fer_ray.storage.files import read_json
from fer_ray.storage.parquet import count_rows_if_readable
from fer_ray.storage.paths import is_object

SUFFIXES = (".parquet", ".json")


@contextmanager
def damage_named(folder: Path) -> Iterator[None]:
    """Name the damaged files of a folder if reading them fails in the block.

    Raises:
        UserError: Some are damaged.
    """
    try:
        yield
    except UserError:
        raise
    except Exception:
        require_readable(folder)
        raise


def require_readable(folder: Path) -> None:
    """Read the footer of each table below `folder`, and each record.

    Raises:
        PermissionError: The user may not read one of these files or folders.
        UserError: Some are damaged.
    """
    if not is_object(folder):
        _require_permission(folder)
    damaged = [
        str(file)
        for suffix, read in zip(SUFFIXES, (count_rows_if_readable, read_json), strict=True)
        for file in sorted(folder.rglob(f"*{suffix}"))
        if read(file) is None
    ]
    if damaged:
        raise UserError(
            f"Damaged files: {', '.join(damaged)}. Remove them, then rerun the commands "
            "that wrote them."
        ) from None


def _require_permission(folder: Path) -> None:
    def check(problem: OSError) -> None:
        if isinstance(problem, PermissionError):
            raise problem

    for parent, _, names in os.walk(folder, onerror=check):
        for name in names:
            if name.endswith(SUFFIXES):
                (Path(parent) / name).open("rb").close()
