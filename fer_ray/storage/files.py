"""Files and folders that jobs write: readers never see a partial one.

An object store writes each object atomically. On a disk, a file is written under a temporary name,
flushed, and renamed.
"""

import json
import os
import shutil
import tempfile
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

from fer_ray.errors import UserError
from fer_ray.storage.objects.object_path import ObjectPath
from fer_ray.storage.paths import is_object

T = TypeVar("T")
REQUESTS = 16  # to an object store at a time


def write_bytes(content: Any, file: Path) -> None:
    """Write a file or object atomically."""
    with written_atomically(file) as target:
        target.write_bytes(content)


def write_json(record: dict[str, Any], file: Path) -> None:
    """Write a JSON file atomically."""
    write_bytes(format_json(record), file)


def format_json(record: dict[str, Any]) -> bytes:
    """The content of a JSON file."""
    return (json.dumps(record, indent=2, ensure_ascii=False) + "\n").encode()


@contextmanager
def written_atomically(file: Path) -> Iterator[Path]:
    """The path to write a file to; its content appears as `file` at the end of the block."""
    if is_object(file):
        yield file
        return
    temporary = temporary_path(file)
    yield temporary
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


def read_each(files: Iterable[Path]) -> list[bytes | OSError]:
    """The content of each file, or the error of reading it; objects are read concurrently."""
    return for_each(_read, files)


def for_each(work: Callable[[Path], T], files: Iterable[Path]) -> list[T]:
    """The results of `work` for each file, several at a time, since object stores answer slowly."""
    with ThreadPoolExecutor(REQUESTS) as pool:
        return list(pool.map(work, files))


def _read(file: Path) -> bytes | OSError:
    try:
        return file.read_bytes()
    except OSError as problem:
        return problem


def temporary_path(file: Path) -> Path:
    """A path next to `file` that no reader of `*.parquet` or `*.json` picks up."""
    return file.with_name(f".{file.name}.{os.getpid()}.tmp")


def write_folder(files: Iterable[tuple[str, bytes]], folder: Path) -> None:
    """Write a folder of files, replacing any existing content.

    On a disk, the folder is complete before it takes its name; after an error, nothing of it
    remains. In an object store, files are written in their order, so the last one should be that by
    which readers find the others. What the folder contained before is then removed.

    Args:
        files: Paths relative to the folder, with their content.
        folder: Where to write them.
    """
    if isinstance(folder, ObjectPath):
        written = set()
        for name, content in files:
            (folder / name).write_bytes(content)
            written.add(folder / name)
        folder.remove_tree(keep=written)
        return
    new = folder.with_name(f".{folder.name}.new")
    shutil.rmtree(new, ignore_errors=True)
    new.mkdir(parents=True)
    try:
        for name, content in files:
            (new / name).parent.mkdir(parents=True, exist_ok=True)
            (new / name).write_bytes(content)
        _replace_folder(new, folder)
    finally:
        shutil.rmtree(new, ignore_errors=True)


@contextmanager
def local_folder(folder: Path) -> Iterator[Path]:
    """A folder on a disk for code that needs one; it is copied to an object store at the end."""
    if not is_object(folder):
        yield folder
        return
    with tempfile.TemporaryDirectory() as scratch:
        local = Path(scratch) / folder.name
        yield local

        def upload(file: Path) -> None:
            write_bytes(file.read_bytes(), folder / file.relative_to(local))

        for_each(upload, [file for file in local.rglob("*") if file.is_file()])


def _replace_folder(new: Path, final: Path) -> None:
    """Move the folder `new` to `final`, replacing an existing file or folder."""
    old = final.with_name(f".{final.name}.old")
    shutil.rmtree(old, ignore_errors=True)
    if final.exists():
        final.rename(old)
    new.rename(final)
    shutil.rmtree(old, ignore_errors=True)


def remove(path: Path) -> None:
    """Remove a file, or a folder and its content, if it exists."""
    if isinstance(path, ObjectPath):
        path.remove_tree()
    elif path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def move(path: Path, target: Path) -> None:
    """Move a file or folder to a path that does not exist; in an object store, by copying it."""
    if isinstance(path, ObjectPath) and isinstance(target, ObjectPath):
        path.copy_tree(target)
        path.remove_tree()
    else:
        path.rename(target)


def require_visible(missing: int, total: int, unit: str, folder: Path) -> None:
    """Require that everything that other processes have stored can be seen here.

    Args:
        missing: Number of finished items that cannot be seen.
        total: Number of all items.
        unit: What they are, in the plural.
        folder: Where they are stored.

    Raises:
        UserError: Some items cannot be seen.
    """
    if missing:
        raise UserError(
            f"{missing} of {total} {unit} finished but are missing from {folder}: the storage "
            f"shows new files late, or a node writes to different storage. The other {unit} are "
            "stored. Rerun the same command to resume."
        )


def unreachable(paths: list[Path]) -> list[Path]:
    """Select the paths that do not exist on this machine; an empty folder counts as unmounted."""
    return [path for path in paths if not _is_reachable(path)]


def _is_reachable(path: Path) -> bool:
    try:
        return path.is_file() or any(True for _ in os.scandir(path))
    except OSError:
        return False
