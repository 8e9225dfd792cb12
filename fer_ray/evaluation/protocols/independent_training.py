"""Training parts that share no person and no picture with their test images."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from fer_ray.evaluation.protocols.leakage import (
    HOG,
    Identities,
    identities_of,
    pairs_across,
    read_identity_columns,
)
from fer_ray.evaluation.protocols.splits import Split

# Kinds of `leakage.MEANINGS` by which training images are excluded; a subject has all sequences.
EXCLUDING = ("subject", "content", "near_duplicate")

Rows = NDArray[np.int64]


@dataclass(frozen=True)
class IndependentSplit:
    """A split without the training images that share something with its test images.

    Attributes:
        split: The remaining training images, and all test images.
        excluded: Rows of excluded training images by kind (`EXCLUDING`); an image may have several
            kinds. A kind is missing if it is unknown.
    """

    split: Split
    excluded: dict[str, Rows]


def read_joint_identities(
    sources: list[tuple[Path, list[str]]], same_names_same_people: bool = True
) -> Identities:
    """Read what identifies the images of several sources, stacked in their order.

    Near-duplicates are found if every source has HOG features.

    Args:
        sources: Folder of the frames and image IDs of each source.
        same_names_same_people: Whether a name that occurs in two sources means one person.
    """
    tables = [read_identity_columns(frames, image_ids) for frames, image_ids in sources]
    if not same_names_same_people:
        tables = [_with_own_subjects(table, number) for number, table in enumerate(tables)]
    if not all(HOG in table.column_names for table in tables):
        tables = [table.drop_columns([HOG] if HOG in table.column_names else [])
                  for table in tables]  # fmt: skip
    return identities_of(pa.concat_tables(tables))


def _with_own_subjects(table: pa.Table, number: int) -> pa.Table:
    subjects = [name and f"{number} {name}" for name in table["subject"].to_pylist()]
    position = table.column_names.index("subject")
    return table.set_column(position, "subject", pa.array(subjects, pa.string()))


def exclude_shared(identities: Identities, split: Split) -> IndependentSplit:
    """Exclude the training images that share a subject or a picture with a test image.

    Args:
        identities: Of all images that the split refers to.
        split: Training and test images.
    """
    excluded: dict[str, Rows] = {}
    for kind in EXCLUDING:
        if kind in identities.groups:
            groups = identities.groups[kind]
            shared = np.isin(groups[split.train], groups[split.test]) & (groups[split.train] >= 0)
            excluded[kind] = split.train[shared]
        elif (pairs := identities.pairs[kind]) is not None:
            excluded[kind] = np.unique(pairs_across(pairs, split)[:, 1])
    shared_rows = np.concatenate(list(excluded.values()))
    train = split.train[~np.isin(split.train, shared_rows)]
    return IndependentSplit(Split(train, split.test), excluded)
