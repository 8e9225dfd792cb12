"""Leakage audit: what of the test images a model has, in one way or another, seen in training."""

from dataclasses import dataclass
from itertools import permutations
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
from numpy.typing import NDArray

from fer_ray.errors import UserError
from fer_ray.evaluation.splits import Split
from fer_ray.features.appearance import mirrored_hog
from fer_ray.schemas import feature_column
from fer_ray.storage.parquet import read_table

HOG = feature_column("hog")
# How much the HOG vectors of two aligned faces correlate, each number first standardised over all
# images, where they are one picture. Measured on 1,483 photographs of faces and 2,215 changed
# copies of 200 of them, whose faces were found anew: 93 % or more of copies that were saved as JPEG
# of quality 50, resized, brightened, shifted, turned by 3° or mirrored correlate above it, 77 % of
# those cut closer or turned by 8°, 15 % of those with noise of σ = 8; none of 1.1 million pairs of
# different people does (at most 0.68), nor any of 25,000 pairs of drawn ones (0.83).
SAME_PICTURE = 0.85
ROWS_AT_A_TIME = 1024  # of the matrix of correlations
MOST_EXAMPLES = 3

# What may be shared across a split, and how a message says so.
MEANINGS = {
    "subject": "show a subject who is also in training",
    "sequence": "come from a sequence that is also in training",
    "content": "are, byte for byte, an image in training",
    "near_duplicate": "look the same as an image in training",
}
BY_WHOM = ("subject", "sequence")  # a protocol that keeps people apart mends these
Indices = NDArray[np.int64]


@dataclass(frozen=True)
class Identities:
    """Who and what is on each image, in the order of the samples.

    Attributes:
        image_ids: (n,).
        groups: For each kind of `BY_WHOM` a number for each image (n,), the same where images share
            it, -1 where it is not known.
        pairs: For each other kind the pairs (k, 2) of images that share it, both ways; None where
            it is not known.
    """

    image_ids: list[str]
    groups: dict[str, Indices]
    pairs: dict[str, Indices | None]


def read_identities(frames: Path, image_ids: list[str]) -> Identities:
    """What `frames` tell of the images `image_ids`, each of which is there."""
    stored = pq.read_schema(next(frames.glob("*.parquet"))).names
    has_hog = HOG in stored
    columns = ["image_id", "subject", "session", "sha256", *([HOG] if has_hog else [])]
    table = read_table(frames, columns=columns)
    rows = {name: row for row, name in enumerate(table["image_id"].to_pylist())}
    table = table.take([rows[name] for name in image_ids])
    subjects, sessions, contents = (table[name].to_pylist() for name in columns[1:4])
    near = None
    if has_hog and not table[HOG].null_count:
        flat = table[HOG].combine_chunks().flatten().to_numpy()
        near = near_duplicates(flat.reshape(len(image_ids), -1))
    return Identities(
        image_ids,
        {
            "subject": numbered([(one,) for one in subjects]),
            "sequence": numbered(list(zip(subjects, sessions, strict=True))),
        },
        {"content": _pairs_of_equal(contents), "near_duplicate": near},
    )


def numbered(keys: list[tuple[str | None, ...]]) -> Indices:
    """A number for each distinct key (n,), -1 where a part of it is not known."""
    numbers: dict[tuple[str | None, ...], int] = {}
    return np.array(
        [-1 if None in key else numbers.setdefault(key, len(numbers)) for key in keys],
        dtype=np.int64,
    )


def _pairs_of_equal(values: list[str]) -> Indices:
    where: dict[str, list[int]] = {}
    for row, value in enumerate(values):
        where.setdefault(value, []).append(row)
    pairs = [pair for rows in where.values() for pair in permutations(rows, 2)]
    return np.array(pairs, dtype=np.int64).reshape(-1, 2)


def near_duplicates(hog: NDArray[np.float32]) -> Indices:
    """Pairs (k, 2) of images that look the same, also mirrored, each pair both ways.

    Args:
        hog: Of aligned faces (n, 1764), as `appearance.hog` gives it.
    """
    turned = mirrored_hog(hog)
    both = np.concatenate([hog, turned])
    middle, spread = both.mean(axis=0), both.std(axis=0) + 1e-6
    plain, turned = (_directions((one - middle) / spread) for one in (hog, turned))
    found = [np.zeros((0, 2), dtype=np.int64)]
    for start in range(0, len(hog), ROWS_AT_A_TIME):
        rows = plain[start : start + ROWS_AT_A_TIME]
        alike = np.maximum(rows @ plain.T, rows @ turned.T) > SAME_PICTURE
        pairs = np.argwhere(alike) + np.array([start, 0])
        found.append(pairs[pairs[:, 0] != pairs[:, 1]])
    return np.concatenate(found)


def _directions(vectors: NDArray[np.float32]) -> NDArray[np.float32]:
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    directions: NDArray[np.float32] = vectors / np.maximum(lengths, 1e-6)
    return directions


def leaks(identities: Identities, split: Split) -> dict[str, int | None]:
    """Test images of one split that share something with its training images, by kind.

    None where nothing is known, as with photographs of unnamed people.
    """
    counts: dict[str, int | None] = {}
    for kind, groups in identities.groups.items():
        tested = groups[split.test]
        shared = np.isin(tested, groups[split.train]) & (tested >= 0)
        counts[kind] = int(shared.sum()) if (tested >= 0).any() else None
    for kind, pairs in identities.pairs.items():
        across = None if pairs is None else _across(pairs, split)
        counts[kind] = None if across is None else len(np.unique(across[:, 0]))
    return counts


def _across(pairs: Indices, split: Split) -> Indices:
    """Those pairs of which the first is tested and the second trained on."""
    tested, trained = np.isin(pairs[:, 0], split.test), np.isin(pairs[:, 1], split.train)
    across: Indices = pairs[tested & trained]
    return across


def audit(identities: Identities, splits: list[Split]) -> dict[str, Any]:
    """Counts of every split, and over all of them.

    Returns:
        `test_images`; for each kind of `MEANINGS` the sum over all splits, None where it is not
        known; `examples`: image_ids of a few pairs by kind; and `splits`, the counts of each.
    """
    by_split = [leaks(identities, split) for split in splits]
    total: dict[str, Any] = {"test_images": sum(len(split.test) for split in splits)}
    for kind in MEANINGS:
        counts = [counted for found in by_split if (counted := found[kind]) is not None]
        total[kind] = sum(counts) if counts else None
    total["examples"] = {
        kind: _examples(identities.image_ids, pairs, splits)
        for kind, pairs in identities.pairs.items()
        if total[kind]
    }
    total["splits"] = [
        {"test_images": len(split.test), **found}
        for split, found in zip(splits, by_split, strict=True)
    ]
    return total


def _examples(names: list[str], pairs: Indices | None, splits: list[Split]) -> list[list[str]]:
    assert pairs is not None
    across = np.concatenate([_across(pairs, split) for split in splits])
    distinct = dict.fromkeys(tuple(sorted(pair)) for pair in across.tolist())
    return [[names[row] for row in pair] for pair in list(distinct)[:MOST_EXAMPLES]]


def told(audited: dict[str, Any]) -> list[str]:
    """What leaks, one line a kind that does."""
    tested = audited["test_images"]
    return [
        f"{audited[kind]} of {tested} test images {meaning}"
        for kind, meaning in MEANINGS.items()
        if audited[kind]
    ]


def unknown(audited: dict[str, Any]) -> list[str]:
    """The kinds of which it is not known whether test images share them, in words."""
    return [kind.replace("_", " ") for kind in MEANINGS if audited[kind] is None]


def refuse_leaks(audited: dict[str, Any]) -> None:
    """Let nothing pass that leaks, or of which it is not known whether it does.

    Raises:
        UserError: Something does.
    """
    mend = []
    if audited["subject"] is None:
        mend.append("it is not known who is on the images: name subjects, in a labels.csv, say")
    if any(audited[kind] for kind in BY_WHOM):
        mend.append("take --protocol subject-10fold or loso, or other folds")
    for kind, pairs in audited["examples"].items():
        named = ", ".join(" and ".join(pair) for pair in pairs)
        mend.append(f"take one of each pair out of the source ({MEANINGS[kind]}: {named} …)")
    if mend:
        found = "; ".join(told(audited)) or "nothing that is known is shared, but"
        raise UserError(f"With --strict these splits are refused: {found}. {_sentence(mend)}"
                        " Nothing was run.")  # fmt: skip


def _sentence(parts: list[str]) -> str:
    text = "; ".join(parts)
    return f"{text[:1].upper()}{text[1:]}."
