"""Files and folders of a run folder, written atomically: readers never see a partial one."""

import json
import os
import shutil
from pathlib import Path
from typing import Any


def write_json(record: dict[str, Any], file: Path) -> None:
    """Write a JSON file atomically."""
    temporary = temporary_path(file)
    temporary.write_text(json.dumps(record, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    publish_file(temporary, file)


def publish_file(temporary: Path, file: Path) -> None:
    """Sync a complete file to disk, then rename it: a power failure never leaves part of it."""
    sync_to_disk(temporary)
    temporary.replace(file)


def sync_to_disk(file: Path) -> None:
    """Flush a file from the operating system's cache to disk."""
    with file.open("rb") as stream:
        os.fsync(stream.fileno())


def read_json(file: Path) -> dict[str, Any] | None:
    """Read a record; None if the file is missing or damaged."""
    try:
        record = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return record if isinstance(record, dict) else None


def temporary_path(file: Path) -> Path:
    """A path next to `file` that no reader of `*.parquet` or `*.json` picks up."""
    return file.with_name(f".{file.name}.{os.getpid()}.tmp")


def replace_folder(new: Path, final: Path) -> None:
    """Move the folder `new` to `final`, replacing an existing file or folder."""
    old = final.with_name(f".{final.name}.old")
    shutil.rmtree(old, ignore_errors=True)
    if final.exists():
        final.rename(old)
    new.rename(final)
    shutil.rmtree(old, ignore_errors=True)


def remove(path: Path) -> None:
    """Remove a file, or a folder and its content, if it exists."""
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def unreachable(paths: list[Path]) -> list[Path]:
    """Select the paths that do not exist on this machine; an empty folder counts as unmounted."""
    return [path for path in paths if not _is_reachable(path)]


def _is_reachable(path: Path) -> bool:
    try:
        return path.is_file() or any(True for _ in os.scandir(path))
    except OSError:
        return False
