"""Leakage audit: what test images share with the training images of their split."""

from dataclasses import dataclass
from itertools import permutations
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from fer_ray.errors import UserError
from fer_ray.evaluation.protocols.splits import Split
from fer_ray.features.appearance import mirrored_hog
from fer_ray.schemas import feature_column
from fer_ray.storage.parquet import read_schema, read_table, table_files

HOG = feature_column("hog")
IDENTITY_COLUMNS = ("image_id", "subject", "session", "sha256")
# Two aligned faces count as the same picture if their HOG vectors, standardised over all images,
# correlate more than this. docs/reference/protocols.md says how it was measured: pairs of different
# people correlate by at most 0.68, and pairs of different synthetic people by at most 0.83.
SAME_PICTURE = 0.85
ROWS_AT_A_TIME = 1024  # rows of the matrix of correlations in memory
MAX_EXAMPLES = 3

# What can be shared across a split, and how messages describe it.
MEANINGS = {
    "subject": "show a subject who is also in training",
    "sequence": "come from a sequence that is also in training",
    "content": "are, byte for byte, an image in training",
    "near_duplicate": "look the same as an image in training",
}
SUBJECT_KINDS = ("subject", "sequence")  # kinds that subject-disjoint protocols prevent
Indices = NDArray[np.int64]


@dataclass(frozen=True)
class Identities:
    """Properties by which images can leak across a split, in the order of the samples.

    Attributes:
        image_ids: (n,).
        groups: For each of `SUBJECT_KINDS`, a number per image (n,) that images sharing it have in
            common; -1 if it is unknown.
        pairs: For each other kind, the pairs (k, 2) of images that share it, in both orders; None
            if unknown.
    """

    image_ids: list[str]
    groups: dict[str, Indices]
    pairs: dict[str, Indices | None]


def read_identities(frames: Path, image_ids: list[str]) -> Identities:
    """Read subjects, sequences, contents and HOG vectors of images from `frames`.

    Args:
        frames: Folder of the table.
        image_ids: Images to read (n,), all of which are in the table.
    """
    return identities_of(read_identity_columns(frames, image_ids))


def read_identity_columns(frames: Path, image_ids: list[str]) -> pa.Table:
    """Read the columns of `identities_of` for images, in their order."""
    stored = read_schema(table_files(frames)[0]).names
    columns = [*IDENTITY_COLUMNS, *([HOG] if HOG in stored else [])]
    table = read_table(frames, columns=columns)
    rows = {name: row for row, name in enumerate(table["image_id"].to_pylist())}
    return table.take([rows[name] for name in image_ids])


def identities_of(table: pa.Table) -> Identities:
    """Group the images of a table by subject, sequence, content and appearance.

    Args:
        table: `IDENTITY_COLUMNS`, and `features_hog` if near-duplicates are to be found.
    """
    subjects, sessions, contents = (table[name].to_pylist() for name in IDENTITY_COLUMNS[1:])
    duplicates = None
    if HOG in table.column_names and not table[HOG].null_count:
        flat = table[HOG].combine_chunks().flatten().to_numpy()
        duplicates = find_near_duplicates(flat.reshape(table.num_rows, -1))
    return Identities(
        table["image_id"].to_pylist(),
        {
            "subject": _group_numbers([(subject,) for subject in subjects]),
            "sequence": _group_numbers(list(zip(subjects, sessions, strict=True))),
        },
        {"content": _pairs_of_equal(contents), "near_duplicate": duplicates},
    )


def _group_numbers(keys: list[tuple[str | None, ...]]) -> Indices:
    """A number for each distinct key (n,), -1 where part of the key is unknown."""
    numbers: dict[tuple[str | None, ...], int] = {}
    return np.array(
        [-1 if None in key else numbers.setdefault(key, len(numbers)) for key in keys],
        dtype=np.int64,
    )


def _pairs_of_equal(values: list[str]) -> Indices:
    rows_by_value: dict[str, list[int]] = {}
    for row, value in enumerate(values):
        rows_by_value.setdefault(value, []).append(row)
    pairs = [pair for rows in rows_by_value.values() for pair in permutations(rows, 2)]
    return np.array(pairs, dtype=np.int64).reshape(-1, 2)


def find_near_duplicates(hog: NDArray[np.float32]) -> Indices:
    """Find pairs (k, 2) of images that look the same or mirrored, each pair in both orders.

    Args:
        hog: HOG vectors of aligned faces (n, 1764), from `features.appearance.hog`.
    """
    mirrored = mirrored_hog(hog)
    both = np.concatenate([hog, mirrored])
    mean, spread = both.mean(axis=0), both.std(axis=0) + 1e-6
    hog, mirrored = (_unit_vectors((part - mean) / spread) for part in (hog, mirrored))
    pairs = [np.zeros((0, 2), dtype=np.int64)]
    for start in range(0, len(hog), ROWS_AT_A_TIME):
        rows = hog[start : start + ROWS_AT_A_TIME]
        alike = np.maximum(rows @ hog.T, rows @ mirrored.T) > SAME_PICTURE
        indices = np.argwhere(alike) + np.array([start, 0])
        pairs.append(indices[indices[:, 0] != indices[:, 1]])
    return np.concatenate(pairs)


def _unit_vectors(vectors: NDArray[np.float32]) -> NDArray[np.float32]:
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    units: NDArray[np.float32] = vectors / np.maximum(lengths, 1e-6)
    return units


def audit(identities: Identities, splits: list[Split]) -> dict[str, Any]:
    """Count the test images that share something with training, per split and in total.

    Returns:
        `test_images`; for each kind of `MEANINGS` the sum over all splits, None if unknown;
        `examples`: the image_ids of a few pairs by kind; and `splits`, the counts of each split.
    """
    by_split = [count_leaks(identities, split) for split in splits]
    total: dict[str, Any] = {"test_images": sum(len(split.test) for split in splits)}
    for kind in MEANINGS:
        counts = [count for leaks in by_split if (count := leaks[kind]) is not None]
        total[kind] = sum(counts) if counts else None
    total["examples"] = {
        kind: _examples(identities.image_ids, pairs, splits)
        for kind, pairs in identities.pairs.items()
        if total[kind]
    }
    total["splits"] = [
        {"test_images": len(split.test), **leaks}
        for split, leaks in zip(splits, by_split, strict=True)
    ]
    return total


def count_leaks(identities: Identities, split: Split) -> dict[str, int | None]:
    """Count a split's test images that share something with its training images, by kind.

    A count is None if nothing is known, as for photographs without subjects.
    """
    counts: dict[str, int | None] = {}
    for kind, groups in identities.groups.items():
        tested = groups[split.test]
        shared = np.isin(tested, groups[split.train]) & (tested >= 0)
        counts[kind] = int(shared.sum()) if (tested >= 0).any() else None
    for kind, pairs in identities.pairs.items():
        across = None if pairs is None else pairs_across(pairs, split)
        counts[kind] = None if across is None else len(np.unique(across[:, 0]))
    return counts


def pairs_across(pairs: Indices, split: Split) -> Indices:
    """The pairs of a test image, first, and a training image of a split."""
    tested, trained = np.isin(pairs[:, 0], split.test), np.isin(pairs[:, 1], split.train)
    across: Indices = pairs[tested & trained]
    return across


def _examples(names: list[str], pairs: Indices | None, splits: list[Split]) -> list[list[str]]:
    assert pairs is not None
    across = np.concatenate([pairs_across(pairs, split) for split in splits])
    distinct = dict.fromkeys(tuple(sorted(pair)) for pair in across.tolist())
    return [[names[row] for row in pair] for pair in list(distinct)[:MAX_EXAMPLES]]


def describe_leaks(audited: dict[str, Any]) -> list[str]:
    """Describe what leaks in an audit, one line per kind."""
    tested = audited["test_images"]
    return [
        f"{audited[kind]} of {tested} test images {meaning}"
        for kind, meaning in MEANINGS.items()
        if audited[kind]
    ]


def unknown_kinds(audited: dict[str, Any]) -> list[str]:
    """Return the kinds of leakage that the audit could not check, in words."""
    return [kind.replace("_", " ") for kind in MEANINGS if audited[kind] is None]


def require_no_leaks(audited: dict[str, Any]) -> None:
    """Reject splits that leak, or whose subjects are unknown.

    Raises:
        UserError: The splits leak, or subjects are unknown. The message says what to change.
    """
    remedies = []
    if audited["subject"] is None:
        remedies.append("the subjects are unknown: name them, for example in a labels.csv")
    if any(audited[kind] for kind in SUBJECT_KINDS):
        remedies.append("use --protocol subject-10fold or loso, or other folds")
    for kind, pairs in audited["examples"].items():
        examples = ", ".join(" and ".join(pair) for pair in pairs)
        remedies.append(
            f"remove one image of each pair from the source ({MEANINGS[kind]}: {examples} …)"
        )
    if remedies:
        found = "; ".join(describe_leaks(audited)) or "no known leakage"
        raise UserError(
            f"--strict rejects these splits: {found}. {_sentence(remedies)} Nothing was run."
        )


def _sentence(parts: list[str]) -> str:
    text = "; ".join(parts)
    return f"{text[:1].upper()}{text[1:]}."
