"""Reading samples, from rows written by hand."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from fer_ray.errors import UserError
from fer_ray.evaluation.experiments.samples import read_samples
from fer_ray.schemas import feature_column, vector

# image_id, subject, session, role, label, status; the features of row i are i² and 10 i.
ROWS = [
    ("a1", "A", "001", "neutral", 0, "ok"),
    ("a9", "A", "001", "peak", 5, "ok"),
    ("a9b", "A", "002", "peak", 3, "ok"),  # without its first frame
    ("b1", "B", "001", "neutral", 0, "no_landmarks"),
    ("b9", "B", "001", "peak", 5, "ok"),  # its first frame has no features
    ("c1", "C", "001", "neutral", 0, "ok"),
    ("c5", "C", "001", "other", None, "ok"),
    ("c9", "C", "001", "peak", 7, "ok"),
    ("d1", "D", "001", "neutral", 0, "ok"),
    ("d9", "D", "001", "peak", None, "ok"),  # unlabelled
]
WIDTH = 2


def write_frames(out: Path, rows: list[tuple[object, ...]]) -> Path:
    names = ("image_id", "subject", "session", "role", "label", "status")
    columns = dict(zip(names, map(list, zip(*rows, strict=True)), strict=True))
    numbers = [ROWS.index(row) for row in rows]
    for name, values in (
        ("landmarks", [n**2 for n in numbers]),
        ("hog", [10 * n for n in numbers]),
    ):
        flat = pa.array(np.repeat(np.array(values, np.float32), WIDTH))
        columns[feature_column(name)] = pa.FixedSizeListArray.from_arrays(flat, type=vector(WIDTH))
    out.mkdir()
    pq.write_table(pa.table(columns), out / "part-0.parquet")
    return out


@pytest.mark.parametrize("name", ["delta", "delta-landmarks"])
def test_delta_of_peak_and_first_frame(tmp_path: Path, name: str) -> None:
    samples = read_samples(write_frames(tmp_path / "frames", ROWS[::-1]), name)
    assert samples.image_ids == ["a9", "c9"]
    assert samples.labels.tolist() == [5, 7]
    assert samples.features.tolist() == [[1.0, 1.0], [7**2 - 5**2] * 2]


def test_union_with_deltas(tmp_path: Path) -> None:
    samples = read_samples(write_frames(tmp_path / "frames", ROWS), "hog+delta+delta-hog")
    assert samples.features.tolist() == [[10, 10, 1, 1, 10, 10], [70, 70, 24, 24, 20, 20]]


def test_paired_samples(tmp_path: Path) -> None:
    frames = write_frames(tmp_path / "frames", ROWS)
    assert read_samples(frames, "hog", paired=True).image_ids == ["a9", "c9"]
    assert len(read_samples(frames, "hog").image_ids) == 7


def test_delta_without_first_frames(tmp_path: Path) -> None:
    peaks = [row for row in ROWS if row[3] == "peak"]
    with pytest.raises(UserError, match="--frames first-and-peak"):
        read_samples(write_frames(tmp_path / "frames", peaks), "delta-hog")
