"""Damaged files, which libraries report in many ways, named in one message."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from fer_ray.errors import UserError
from fer_ray.storage.files import read_json
from fer_ray.storage.parquet import count_rows_if_readable


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
        UserError: Some are damaged.
    """
    damaged = [
        str(file)
        for suffix, read in ((".parquet", count_rows_if_readable), (".json", read_json))
        for file in sorted(folder.rglob(f"*{suffix}"))
        if read(file) is None
    ]
    if damaged:
        raise UserError(
            f"Damaged files: {', '.join(damaged)}. Remove them, then rerun the commands "
            "that wrote them."
        ) from None
