"""What a task does with a block of images: read them, and describe them under a guard."""

import hashlib
from contextlib import closing
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from fer_ray.execution.claims import Claim
from fer_ray.execution.guard import Fault, Guard
from fer_ray.pipelines.sweeps.describe import failed_rows
from fer_ray.sources.locations import Source
from fer_ray.sources.reading import HungError, Reader
from fer_ray.storage.uris import told
from fer_ray.vocabulary import Stage, Status

# A child that dies may have been killed by the system; one image does not kill three by chance.
ATTEMPTS = 3

FOUND = pa.schema(
    [
        *(pa.field(name, pa.string()) for name in ("path", "sha256", "status", "stage", "error")),
        *(pa.field(name, pa.int64()) for name in ("size", "mtime_ns")),  # as listed, where known
    ]
)
Row = dict[str, Any]

_guards: dict[tuple[bytes, float], Guard] = {}  # at most one a process: that of the last task


@dataclass(frozen=True)
class Limits:
    """What an image may cost.

    Attributes:
        max_bytes: Larger files are not read.
        image_seconds: After which reading or describing it is given up.
    """

    max_bytes: int
    image_seconds: float


def read_block(
    block: pa.Table, source: Source, describe: bytes, limits: Limits, claim: Claim
) -> tuple[pa.Table, pa.Table]:
    """What each path holds, and the rows of each content that is new.

    Args:
        block: `path`, `size` and `mtime_ns`, as listed.
        source: Where they lie.
        describe: Pickled, for `Guard`.
        limits: What each may cost.
        claim: Tells whether a content is this block's to describe.

    Returns:
        Results without bookkeeping, and `FOUND`: SHA-256 of each image's content, or why it cannot
        be read.
    """
    guard, owner = _guard(describe, limits.image_seconds), str(block["path"][0])
    results: dict[str, pa.Table] = {}
    found = []
    with closing(Reader(source, limits.max_bytes, limits.image_seconds)) as read:
        for row in block.to_pylist():
            now, content = _looked_at(read, row["path"], limits)
            found.append({**row, **now})
            sha256 = now.get("sha256")
            if sha256 and sha256 not in results and claim(owner, sha256):
                results[sha256] = _described(guard, content, sha256)
    return _joined([*results.values()]), pa.Table.from_pylist(found, schema=FOUND)


def _looked_at(read: Reader, path: str, limits: Limits) -> tuple[Row, bytes]:
    """What a path holds, as `FOUND`, and its content where it could be read."""
    try:
        content = read(path)
    except HungError:
        reason = f"could not be read within {limits.image_seconds:g} s"
        return _unread(path, Status.TIMED_OUT, reason), b""
    except OSError as problem:
        return _unread(path, Status.UNREADABLE, told(problem)), b""
    if len(content) > limits.max_bytes:
        reason = f"more than {limits.max_bytes} bytes: decode.max_bytes"
        return _unread(path, Status.TOO_LARGE, reason), b""
    return {"path": path, "sha256": hashlib.sha256(content).hexdigest()}, content


def _unread(path: str, status: Status, error: str) -> Row:
    return {"path": path, "status": status.value, "stage": Stage.DECODE.value, "error": error}


def describe_block(
    block: pa.Table, source: Source, describe: bytes, limits: Limits
) -> tuple[pa.Table, pa.Table, set[str]]:
    """The rows of each image's content, and what each path was found to hold.

    Args:
        block: `path` and `sha256`, as it was planned.
        source: Where they lie.
        describe: Pickled, for `Guard`.
        limits: What each may cost.

    Returns:
        Results without bookkeeping, `FOUND` of the paths whose content is another by now, or that
        cannot be read any more, and the contents that were planned.
    """
    guard = _guard(describe, limits.image_seconds)
    results, found = [], []
    with closing(Reader(source, limits.max_bytes, limits.image_seconds)) as read:
        for row in block.to_pylist():
            now, content = _looked_at(read, row["path"], limits)
            if now.get("sha256") != row["sha256"]:
                found.append(now)
            if "sha256" in now:
                results.append(_described(guard, content, now["sha256"]))
    planned = set(block["sha256"].to_pylist())
    return _joined(results), pa.Table.from_pylist(found, schema=FOUND), planned


def _joined(results: list[pa.Table]) -> pa.Table:
    if not results:
        return failed_rows([], Status.CRASHED, "", "")
    return pa.concat_tables(results, promote_options="default")


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
