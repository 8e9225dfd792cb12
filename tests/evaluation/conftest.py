"""A run folder with random features, for everything that follows extraction."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from fer_ray.schemas import feature_column, vector
from fer_ray.storage.files import write_json
from fer_ray.storage.parquet import rows_by_file

N_SUBJECTS, CLASSES = 12, (1, 3, 5, 7)
WIDTHS = {"reference": 268, "landmarks": 136, "geometry": 44}


@pytest.fixture
def drawn_frames(tmp_path: Path) -> Path:
    """A run folder with 96 labelled images of 12 subjects; classes overlap slightly."""
    return draw_frames(tmp_path / "run")


def draw_frames(out: Path) -> Path:
    rng = np.random.default_rng(5)
    subject = np.repeat(np.arange(N_SUBJECTS), 2 * len(CLASSES))
    label = np.tile(np.repeat(CLASSES, 2), N_SUBJECTS)
    n = len(label)
    columns = {
        "image_id": [f"I{i:03d}" for i in range(n)],
        "path": [f"{i}.png" for i in range(n)],
        "subject": [f"S{i:03d}" for i in subject],
        "session": [f"{i:03d}" for i in label],
        "role": ["peak"] * n,
        "label": pa.array(label, pa.int8()),
        "status": ["ok"] * n,
        "sha256": [f"{i:064x}" for i in range(n)],
    }
    for name, width in WIDTHS.items():
        centres = rng.normal(size=(8, width))
        values = centres[label] + rng.normal(scale=4, size=(n, width)) + subject[:, None] / 5
        flat = pa.array(values.astype(np.float32).ravel())
        columns[feature_column(name)] = pa.FixedSizeListArray.from_arrays(flat, type=vector(width))
    points = np.random.default_rng(6).uniform(60, 290, (n, 136)).astype(np.float32)
    columns["landmarks_xy"] = pa.FixedSizeListArray.from_arrays(
        pa.array(points.ravel()), type=vector(136)
    )
    (out / "frames").mkdir(parents=True)
    pq.write_table(pa.table(columns), out / "frames" / "part-0.parquet")
    data = {"layout": "ckplus", "labelled_sequences": n, "synthetic": True, "selected": n}
    files = rows_by_file(out / "frames")
    record = {
        **{"fingerprint": "drawn", "source_digest": "drawn", "data": data, "files": files},
        "settings": {"crop": {"size_px": 350}},
    }
    write_json(record, out / "extract.json")
    return out
