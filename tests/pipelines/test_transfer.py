import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from fer_ray.evaluation.experiments import experiment
from fer_ray.schemas import feature_column, vector
from fer_ray.settings.extraction import ExtractSettings
from fer_ray.storage.files import write_json
from fer_ray.storage.parquet import rows_by_file
from tests.conftest import FerRay, run_in_process

WIDTH = 44  # of `geometry`


def draw_source(
    out: Path, people: list[str | None], classes: tuple[int, ...] = (1, 5, 7), first: int = 0
) -> Path:
    """A run folder with two images per person and class; contents are numbered from `first`."""
    rng = np.random.default_rng(first)
    centres = np.random.default_rng(1).normal(size=(8, WIDTH))
    label = np.tile(np.repeat(classes, 2), len(people))
    n = len(label)
    values = centres[label] + rng.normal(scale=1.5, size=(n, WIDTH))
    columns = {
        "image_id": [f"{i}.png" for i in range(n)],
        "path": [f"{i}.png" for i in range(n)],
        "subject": pa.array(np.repeat(np.array(people, object), 2 * len(classes)), pa.string()),
        "session": pa.nulls(n, pa.string()),
        "role": ["peak"] * n,
        "label": pa.array(label, pa.int8()),
        "status": ["ok"] * n,
        "sha256": [f"{i:064x}" for i in range(first, first + n)],
        feature_column("geometry"): pa.FixedSizeListArray.from_arrays(
            pa.array(values.astype(np.float32).ravel()), type=vector(WIDTH)
        ),
    }  # fmt: skip
    (out / "frames").mkdir(parents=True)
    pq.write_table(pa.table(columns), out / "frames" / "part-0.parquet")
    record = {
        "fingerprint": "drawn",
        "source_digest": str(out),
        "settings": ExtractSettings().model_dump(mode="json"),
        "models": {},
        "data": {"root": f"/images/{out.name}", "synthetic": False, "selected": n},
        "files": rows_by_file(out / "frames"),
    }
    write_json(record, out / "extract.json")
    return out


def transfer(*words: object) -> dict[str, Any]:
    done = run_in_process("transfer", *words, "--feature-set", "geometry", "--json")
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def cells_of(record: dict[str, Any]) -> dict[tuple[str, str], dict[str, Any]]:
    return {(row["train"], row["test"]): row for row in record["matrix"]}


def test_other_version_of_the_calibration_is_repeated(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = draw_source(tmp_path / "a", [f"a{i}" for i in range(10)])
    words = ("--train", source, "--test", source, "--out", tmp_path / "out")
    transfer(*words)
    assert transfer(*words).get("already_finished")
    monkeypatch.setattr(experiment, "TEMPERATURE_VERSION", 0)
    assert not transfer(*words).get("already_finished")


def test_matrix_of_two_sources(tmp_path: Path) -> None:
    """`ann` is in both sources, and the last 12 files of one are the first 12 of the other."""
    first = draw_source(tmp_path / "a", ["ann", "bo", *(f"a{i}" for i in range(10))])
    second = draw_source(tmp_path / "b", ["ann", "cy", *(f"b{i}" for i in range(8))], (1, 5), 60)
    record = transfer("--train", first, second, "--out", tmp_path / "out")
    cells = cells_of(record)
    assert set(cells) == {("a", "a"), ("a", "b"), ("b", "b"), ("b", "a")}
    assert record["shared_classes"] == ["anger", "happy"]
    assert record["settings"]["calibration"] == "temperature"
    assert cells["a", "b"]["excluded_subject"] == 6  # of ann, who is in both
    assert cells["a", "b"]["excluded_content"] == 12
    assert cells["a", "b"]["train_images"] == 72 - 6 - 12
    assert cells["b", "a"]["train_images"] == 40 - 12  # 4 of ann are among the 12
    assert cells["a", "b"]["excluded_near_duplicate"] is None  # without HOG features
    assert cells["b", "a"]["unknown_class"] == 24  # surprise is not in b
    assert cells["b", "a"]["classes"] == ["anger", "happy"]
    assert cells["a", "a"]["protocol"] == "subject-10fold"
    assert (cells["a", "a"]["images"], cells["a", "a"]["subjects"]) == (72, 12)
    for row in record["matrix"]:
        assert row["accuracy_low"] <= row["accuracy"] <= row["accuracy_high"] + 1e-9
    predictions = pd.read_parquet(tmp_path / "out" / "predictions.parquet")
    tested = predictions[(predictions["train"] == "a") & (predictions["test"] == "b")]
    assert np.stack(tested["probabilities"]).argmax(axis=1).tolist() == tested["predicted"].tolist()
    correct = (tested["label"] == tested["predicted"]).mean()
    assert cells["a", "b"]["accuracy"] == pytest.approx(correct)
    own = predictions[(predictions["train"] == "b") & (predictions["test"] == "b")]
    gain = correct - (own["label"] == own["predicted"]).mean()
    assert cells["a", "b"]["difference_to_own"] == pytest.approx(gain)
    table = pd.read_parquet(tmp_path / "out" / "transfer.parquet")
    assert table["accuracy"].tolist() == [row["accuracy"] for row in record["matrix"]]
    files = {file.name for file in (tmp_path / "out" / "report").iterdir()}
    assert files == {
        "index.html",
        "transfer.png",
        "transfer.svg",
        "calibration-1.png",
        "calibration-2.png",
    }
    assert not (tmp_path / "out" / "transfer.partial").exists()
    again = transfer("--train", first, second, "--out", tmp_path / "out")
    assert again == {**record, "already_finished": True}


@pytest.mark.slow
@pytest.mark.thorough
def test_matrix_on_ray_with_chosen_penalties(tmp_path: Path, fer_ray: FerRay) -> None:
    """Tasks on Ray give the same predictions as threads of the command."""
    sources = [
        draw_source(tmp_path / name, [f"{name}{i}" for i in range(10)], first=first)
        for name, first in (("a", 0), ("b", 999))
    ]
    words = ["--feature-set", "geometry", "--kernel", "linear", "--scale", "equal"]
    words += ["--C", "auto"]
    tables = []
    for executor in ("ray", "in-process"):
        out = tmp_path / executor
        done = fer_ray("transfer", "--train", *sources, "--out", out, *words, "--set",
                       f"execution.executor={executor}", "--workers", 2)  # fmt: skip
        assert done.returncode == 0, done.stderr
        tables.append(pq.read_table(out / "predictions.parquet"))
    assert tables[0].num_rows == 4 * 60
    assert tables[0].equals(tables[1])


def test_separate_people_of_the_same_name(tmp_path: Path) -> None:
    names = [f"S{i:03d}" for i in range(10)]
    first, second = (
        draw_source(tmp_path / name, names, first=at) for name, at in (("a", 0), ("b", 999))
    )
    shared = transfer("--train", first, "--test", second, "--out", tmp_path / "shared")
    assert "fewer than two classes" in cells_of(shared)["a", "b"]["problem"]
    separate = transfer("--train", first, "--test", second, "--out", tmp_path / "separate",
                        "--subject-names", "separate")  # fmt: skip
    assert cells_of(separate)["a", "b"]["accuracy"] > 0.6
    assert cells_of(separate)["a", "b"]["excluded_subject"] == 0


def test_source_without_subjects(tmp_path: Path) -> None:
    first = draw_source(tmp_path / "a", [None] * 8)
    row = cells_of(transfer("--train", first, "--out", tmp_path / "out"))["a", "a"]
    assert (row["protocol"], row["images"], row["subjects"]) == ("image-10fold", 48, 0)


def test_sources_of_other_settings_are_refused(tmp_path: Path) -> None:
    first, second = (draw_source(tmp_path / name, ["x", "y"]) for name in "ab")
    record = json.loads((second / "extract.json").read_text())
    record["settings"]["crop"]["search"] = "coarse-to-fine"
    write_json(record, second / "extract.json")
    done = run_in_process("transfer", "--train", first, "--test", second, "--out", tmp_path / "out")
    assert done.returncode == 2
    assert "extract.crop.search differ" in done.stderr
