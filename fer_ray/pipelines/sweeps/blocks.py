"""The work of one task on a block of images: read them, and describe them under a guard."""

import hashlib
from contextlib import closing
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from fer_ray.execution.claims import Claim
from fer_ray.execution.guard import Fault, Guard, describe_guarded, shared_guard
from fer_ray.pipelines.sweeps.describe import failed_rows
from fer_ray.sources.streams.image_source import Source
from fer_ray.sources.streams.timed_reader import ImageReader, ReadTimeoutError
from fer_ray.storage.uris import error_text
from fer_ray.vocabulary import Stage, Status

READ_OUTCOME_SCHEMA = pa.schema(
    [
        *(pa.field(name, pa.string()) for name in ("path", "sha256", "status", "stage", "error")),
        *(pa.field(name, pa.int64()) for name in ("size", "mtime_ns")),  # as listed; may be null
    ]
)
Row = dict[str, Any]


@dataclass(frozen=True)
class Limits:
    """Limits per image.

    Attributes:
        max_bytes: Larger files are not read.
        image_seconds: Time limit of reading an image, and of describing it.
    """

    max_bytes: int
    image_seconds: float


def read_block(
    block: pa.Table, source: Source, describe: bytes, limits: Limits, claim: Claim
) -> tuple[pa.Table, pa.Table]:
    """Read each image of a block, and describe each content that is new.

    Args:
        block: `path`, `size` and `mtime_ns` of the images, as listed.
        source: The source of the images.
        describe: The pickled function for `Guard`.
        limits: Limits per image.
        claim: Decides whether this block describes a content.

    Returns:
        Rows of `results` without recipe and sweep, and one row of `READ_OUTCOME_SCHEMA` per image:
        the SHA-256 of its content, or why it could not be read.
    """
    guard, owner = shared_guard(describe, limits.image_seconds), str(block["path"][0])
    results: dict[str, pa.Table] = {}
    outcomes = []
    with closing(ImageReader(source, limits.max_bytes, limits.image_seconds)) as read:
        for row in block.to_pylist():
            outcome, content = _read_image(read, row["path"], limits)
            outcomes.append({**row, **outcome})
            sha256 = outcome.get("sha256")
            if sha256 and sha256 not in results and claim(owner, sha256):
                results[sha256] = _describe(guard, content, sha256)
    return _concat([*results.values()]), pa.Table.from_pylist(outcomes, schema=READ_OUTCOME_SCHEMA)


def describe_block(
    block: pa.Table, source: Source, describe: bytes, limits: Limits
) -> tuple[pa.Table, pa.Table, set[str]]:
    """Read and describe each image of a block, even if its content has changed.

    Args:
        block: `path` and `sha256` of the images, as planned.
        source: The source of the images.
        describe: The pickled function for `Guard`.
        limits: Limits per image.

    Returns:
        Rows of `results` without recipe and sweep; rows of `READ_OUTCOME_SCHEMA` for images that
        have changed or can no longer be read; and the SHA-256 of the planned contents.
    """
    guard = shared_guard(describe, limits.image_seconds)
    results, changed = [], []
    with closing(ImageReader(source, limits.max_bytes, limits.image_seconds)) as read:
        for row in block.to_pylist():
            outcome, content = _read_image(read, row["path"], limits)
            if outcome.get("sha256") != row["sha256"]:
                changed.append(outcome)
            if "sha256" in outcome:
                results.append(_describe(guard, content, outcome["sha256"]))
    planned = set(block["sha256"].to_pylist())
    return _concat(results), pa.Table.from_pylist(changed, schema=READ_OUTCOME_SCHEMA), planned


def _read_image(read: ImageReader, path: str, limits: Limits) -> tuple[Row, bytes]:
    """Read one image; its row of `READ_OUTCOME_SCHEMA`, and its content if it could be read."""
    try:
        content = read(path)
    except ReadTimeoutError:
        reason = f"could not be read within {limits.image_seconds:g} s"
        return _unread(path, Status.TIMED_OUT, reason), b""
    except OSError as problem:
        return _unread(path, Status.UNREADABLE, error_text(problem)), b""
    if len(content) > limits.max_bytes:
        reason = f"larger than {limits.max_bytes} bytes (decode.max_bytes)"
        return _unread(path, Status.TOO_LARGE, reason), b""
    return {"path": path, "sha256": hashlib.sha256(content).hexdigest()}, content


def _unread(path: str, status: Status, error: str) -> Row:
    return {"path": path, "status": status.value, "stage": Stage.DECODE.value, "error": error}


def _describe(guard: Guard, content: bytes, sha256: str) -> pa.Table:
    answer = describe_guarded(guard, content)
    if isinstance(answer, Fault):
        return failed_rows([sha256], answer.status, answer.stage, answer.error)
    return answer


def _concat(results: list[pa.Table]) -> pa.Table:
    if not results:
        return failed_rows([], Status.CRASHED, "", "")
    return pa.concat_tables(results, promote_options="default")
