from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from fer_ray.errors import UserError
from fer_ray.learn.leakage import (
    NEAR_DUPLICATE_BITS,
    audit,
    near_duplicates,
    read_identities,
    refuse_leaks,
    told,
)
from fer_ray.learn.splits import Split

ROWS = {
    "image_id": ["a", "b", "c", "d", "e"],
    "subject": ["S1", "S1", "S2", "S3", None],
    "session": ["001", "002", "001", "001", None],
    "sha256": ["x", "y", "z", "x", "w"],
}
HASHES = [0, 2**63, 0xFFFF, 0xFFFF ^ 0b111, 0xF0F0F0F0F0F0F0F0]


def write(folder: Path, hashed: bool = True) -> Path:
    columns = {name: pa.array(values, pa.string()) for name, values in ROWS.items()}
    if hashed:
        columns["dhash"] = pa.array([f"{bits:016x}" for bits in HASHES])
    pq.write_table(pa.table(columns), folder / "part-0.parquet")
    return folder


def test_every_kind_of_leak_is_counted(tmp_path: Path) -> None:
    found = read_identities(write(tmp_path), ROWS["image_id"])
    # Test a: its subject (b), content (d) and, by one bit, look (b) are in training; test c: its
    # look (d); test e: nothing is known of it but its file.
    counts = audit(found, [Split(np.array([1, 3]), np.array([0, 2, 4]))])
    totals = {kind: counts[kind] for kind in ("subject", "sequence", "content", "near_duplicate")}
    assert totals == {"subject": 1, "sequence": 0, "content": 1, "near_duplicate": 2}
    assert counts["test_images"] == 3
    assert counts["splits"] == [{"test_images": 3, **totals}]
    assert told(counts)[0] == "1 of 3 test images show a subject who is also in training"
    with pytest.raises(UserError, match="byte for byte, an image in training"):
        refuse_leaks(counts)


def test_a_split_that_shares_nothing_passes(tmp_path: Path) -> None:
    found = read_identities(write(tmp_path), ROWS["image_id"])
    counts = audit(found, [Split(np.array([0, 1]), np.array([2]))])
    assert told(counts) == []
    refuse_leaks(counts)


def test_what_is_not_known_is_not_counted_as_none(tmp_path: Path) -> None:
    found = read_identities(write(tmp_path, hashed=False), ["e", "d"])
    counts = audit(found, [Split(np.array([1]), np.array([0]))])
    assert counts["near_duplicate"] is counts["subject"] is counts["sequence"] is None
    assert counts["content"] == 0


def test_near_duplicates_are_those_within_a_few_bits() -> None:
    close, far = (1 << NEAR_DUPLICATE_BITS) - 1, (1 << (NEAR_DUPLICATE_BITS + 1)) - 1
    pairs = near_duplicates(np.array([0, close, far], dtype=np.uint64))
    assert pairs.tolist() == [[0, 1], [1, 0], [1, 2], [2, 1]]
    assert near_duplicates(np.zeros(0, np.uint64)).shape == (0, 2)
