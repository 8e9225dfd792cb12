"""Leakage audit: what of the test images a model has, in one way or another, seen in training."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
from numpy.typing import NDArray

from fer_ray.data.tables import read_table
from fer_ray.errors import UserError
from fer_ray.learn.splits import Split

DHASH = "dhash"  # frames column: difference hash of the face crop, as hex (features.phash)
# Bits in which the hashes of two crops may differ and still be of one picture. Measured on crops of
# 388 photographs of faces: 99 % of copies that were saved as JPEG of quality 50, halved in size,
# brightened or given noise (σ = 8) differ in 3 bits or fewer, and none of 82,740 pairs of different
# people do; half of those pairs differ in 25 or more.
NEAR_DUPLICATE_BITS = 3
ROWS_AT_A_TIME = 1024  # of the matrix of distances

# What may be shared across a split, and how a message says so.
MEANINGS = {
    "subject": "show a subject who is also in training",
    "sequence": "come from a sequence that is also in training",
    "content": "are, byte for byte, an image in training",
    "near_duplicate": "look the same as an image in training",
}


@dataclass(frozen=True)
class Identities:
    """Who and what is on each image, in the order of the samples.

    Attributes:
        groups: By kind of `MEANINGS` but `near_duplicate`: a number for each image (n,), the same
            where images share it, -1 where it is not known.
        near: Pairs (k, 2) of images that look the same, both ways; None without perceptual hashes.
    """

    groups: dict[str, NDArray[np.int64]]
    near: NDArray[np.int64] | None


def read_identities(frames: Path, image_ids: list[str]) -> Identities:
    """What `frames` tell of the images `image_ids`, each of which is there."""
    stored = pq.read_schema(next(frames.glob("*.parquet"))).names
    columns = ["subject", "session", "sha256", *([DHASH] if DHASH in stored else [])]
    rows = read_table(frames, columns=["image_id", *columns]).to_pylist()
    by_id = {row["image_id"]: row for row in rows}
    found = [by_id[name] for name in image_ids]
    groups = {
        "subject": numbered([(row["subject"],) for row in found]),
        "sequence": numbered([(row["subject"], row["session"]) for row in found]),
        "content": numbered([(row["sha256"],) for row in found]),
    }
    hashes = [row.get(DHASH) for row in found]
    if None in hashes:
        return Identities(groups, None)
    bits = np.array([int(value, 16) for value in hashes], dtype=np.uint64)
    return Identities(groups, near_duplicates(bits))


def numbered(keys: list[tuple[str | None, ...]]) -> NDArray[np.int64]:
    """A number for each distinct key (n,), -1 where a part of it is not known."""
    numbers: dict[tuple[str | None, ...], int] = {}
    return np.array(
        [-1 if None in key else numbers.setdefault(key, len(numbers)) for key in keys],
        dtype=np.int64,
    )


def near_duplicates(hashes: NDArray[np.uint64]) -> NDArray[np.int64]:
    """Pairs (k, 2) of images whose hashes (n,) differ in few bits, each pair both ways."""
    found = [np.zeros((0, 2), dtype=np.int64)]
    for start in range(0, len(hashes), ROWS_AT_A_TIME):
        rows = hashes[start : start + ROWS_AT_A_TIME, None]
        distance = np.bitwise_count(rows ^ hashes[None])
        pairs = np.argwhere(distance <= NEAR_DUPLICATE_BITS) + np.array([start, 0])
        found.append(pairs[pairs[:, 0] != pairs[:, 1]])
    return np.concatenate(found)


def leaks(identities: Identities, split: Split) -> dict[str, int | None]:
    """Test images of one split that share something with its training images, by kind.

    None where nothing is known, as with photographs of unnamed people.
    """
    counts: dict[str, int | None] = {}
    for kind, groups in identities.groups.items():
        tested = groups[split.test]
        shared = np.isin(tested, groups[split.train]) & (tested >= 0)
        counts[kind] = int(shared.sum()) if (tested >= 0).any() else None
    counts["near_duplicate"] = _near(identities.near, split)
    return counts


def _near(near: NDArray[np.int64] | None, split: Split) -> int | None:
    if near is None:
        return None
    trained = near[np.isin(near[:, 1], split.train), 0]
    return int(np.isin(split.test, trained).sum())


def audit(identities: Identities, splits: list[Split]) -> dict[str, Any]:
    """Counts of every split, and over all of them.

    Returns:
        `test_images`; for each kind of `MEANINGS` the sum over all splits, None where it is not
        known; and `splits`, the same of each.
    """
    by_split = [leaks(identities, split) for split in splits]
    total: dict[str, Any] = {"test_images": sum(len(split.test) for split in splits)}
    for kind in MEANINGS:
        counts = [counted for found in by_split if (counted := found[kind]) is not None]
        total[kind] = sum(counts) if counts else None
    total["splits"] = [
        {"test_images": len(split.test), **found}
        for split, found in zip(splits, by_split, strict=True)
    ]
    return total


def told(audited: dict[str, Any]) -> list[str]:
    """What leaks, one line a kind that does."""
    tested = audited["test_images"]
    return [
        f"{audited[kind]} of {tested} test images {meaning}"
        for kind, meaning in MEANINGS.items()
        if audited[kind]
    ]


def refuse_leaks(audited: dict[str, Any]) -> None:
    """Let nothing pass that leaks.

    Raises:
        UserError: Something does.
    """
    found = told(audited)
    if found:
        raise UserError(
            f"With --strict these splits are refused: {'; '.join(found)}. Take --protocol "
            "subject-10fold or loso, or other folds; nothing was run."
        )
