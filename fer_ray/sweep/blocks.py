"""What a task does with a block of images: read and hash them, or describe them under a guard."""

import hashlib
from typing import Any

import pyarrow as pa

from fer_ray.contracts import Stage, Status
from fer_ray.sweep.describe import failed_rows
from fer_ray.sweep.guard import Fault, Guard
from fer_ray.sweep.source import Source

# A child that dies may have been killed by the system; one image does not kill three by chance.
ATTEMPTS = 3

FOUND = pa.schema(
    [pa.field(name, pa.string()) for name in ("path", "sha256", "status", "stage", "error")]
)
Row = dict[str, Any]

_guards: dict[tuple[bytes, float], Guard] = {}  # at most one a process: that of the last task


def hash_block(block: pa.Table, source: Source, max_bytes: int) -> pa.Table:
    """SHA-256 of each image's content, or why it cannot be read: `FOUND`.

    Args:
        block: `path` and `size`.
        source: Where they lie.
        max_bytes: Larger files are not read.
    """
    rows = [_hashed(row, source, max_bytes) for row in block.to_pylist()]
    return pa.Table.from_pylist(rows, schema=FOUND)


def _hashed(row: Row, source: Source, max_bytes: int) -> Row:
    if row["size"] > max_bytes:
        reason = f"{row['size']} bytes; decode.max_bytes is {max_bytes}"
        return _unread(row["path"], Status.TOO_LARGE, reason)
    try:
        content = source.read(row["path"])
    except OSError as problem:
        return _unread(row["path"], Status.UNREADABLE, problem.strerror or str(problem))
    return {"path": row["path"], "sha256": hashlib.sha256(content).hexdigest()}


def _unread(path: str, status: Status, error: str) -> Row:
    return {"path": path, "status": status.value, "stage": Stage.DECODE.value, "error": error}


def describe_block(
    block: pa.Table, source: Source, describe: bytes, image_seconds: float
) -> tuple[pa.Table, pa.Table]:
    """The rows of each image's content, and what each path was found to hold.

    Args:
        block: `path` and `sha256`, as it was planned.
        source: Where they lie.
        describe: Pickled, for `Guard`.
        image_seconds: After which an image is given up.

    Returns:
        Results without bookkeeping, and `FOUND` of the paths whose content is another by now, or
        that cannot be read any more.
    """
    guard = _guard(describe, image_seconds)
    results, found = [], []
    for row in block.to_pylist():
        try:
            content = source.read(row["path"])
        except OSError as problem:
            reason = problem.strerror or str(problem)
            found.append(_unread(row["path"], Status.UNREADABLE, reason))
            continue
        sha256 = hashlib.sha256(content).hexdigest()
        if sha256 != row["sha256"]:
            found.append({"path": row["path"], "sha256": sha256})
        results.append(_described(guard, content, sha256))
    merged = pa.concat_tables(results, promote_options="default") if results else failed_none()
    return merged, pa.Table.from_pylist(found, schema=FOUND)


def failed_none() -> pa.Table:
    """No rows of results."""
    return failed_rows([], Status.CRASHED, "", "")


def _described(guard: Guard, content: bytes, sha256: str) -> pa.Table:
    for _ in range(ATTEMPTS):
        answer = guard(content)
        if not isinstance(answer, Fault):
            return answer
        if answer.status == Status.TIMED_OUT:
            break
    return failed_rows([sha256], answer.status, answer.stage, answer.error)


def _guard(describe: bytes, image_seconds: float) -> Guard:
    """The guard of this process; its child lives on from task to task."""
    key = describe, image_seconds
    if key not in _guards:
        for other in _guards.values():
            other.close()
        _guards.clear()
        _guards[key] = Guard(describe, image_seconds)
    return _guards[key]
