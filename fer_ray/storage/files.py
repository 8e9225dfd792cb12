"""The files of a run folder: written whole or not at all, so that a reader never meets a half."""

import json
import os
import shutil
from pathlib import Path
from typing import Any


def write_json(record: dict[str, Any], file: Path) -> None:
    """Write one JSON file under its final name only once it is complete."""
    temporary = temporary_path(file)
    temporary.write_text(json.dumps(record, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    publish_file(temporary, file)


def publish_file(temporary: Path, file: Path) -> None:
    """Give a complete file its name once it is on the disk: no loss of power leaves a half."""
    sync_to_disk(temporary)
    temporary.replace(file)


def sync_to_disk(file: Path) -> None:
    with file.open("rb") as written:
        os.fsync(written.fileno())


def read_json(file: Path) -> dict[str, Any] | None:
    """The record in `file`, or None if there is none that can be read."""
    try:
        record = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return record if isinstance(record, dict) else None


def temporary_path(file: Path) -> Path:
    """A name beside `file` that no reader of `*.parquet` or `*.json` takes up."""
    return file.with_name(f".{file.name}.{os.getpid()}.tmp")


def replace_folder(new: Path, final: Path) -> None:
    """Put the folder `new` in the place of `final`."""
    old = final.with_name(f".{final.name}.old")
    shutil.rmtree(old, ignore_errors=True)
    if final.exists():
        final.rename(old)
    new.rename(final)
    shutil.rmtree(old, ignore_errors=True)


def remove(path: Path) -> None:
    """Remove a file or a folder with all that is in it, if it is there."""
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def unreachable(paths: list[Path]) -> list[Path]:
    """Those of `paths` that this machine does not see; an empty folder is taken for unmounted."""
    return [path for path in paths if not _seen(path)]


def _seen(path: Path) -> bool:
    try:
        return path.is_file() or any(True for _ in os.scandir(path))
    except OSError:
        return False
