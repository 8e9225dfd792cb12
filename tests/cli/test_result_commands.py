"""What commands print at a glance: help, versions, rows of predictions, one image."""

import io
import json
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from click.testing import CliRunner

from fer_ray.cli.main import cli
from fer_ray.cli.output.prediction_rows import row_lines, write_rows
from fer_ray.cli.sectioned_group import FURTHER
from fer_ray.report.figures.marked_image import face_in_image
from fer_ray.storage.parquet import write_table
from tests.conftest import FerRay

EXPERIMENT = "svm-linear-reference-random"


def test_help_lists_every_command_in_a_section() -> None:
    text = CliRunner().invoke(cli, ["--help"], terminal_width=80).output
    words = " ".join(text.split())
    assert "..." not in text.partition("Runs:")[2]
    assert FURTHER not in text
    for name, command in cli.commands.items():
        assert f" {name} " in words
        sentence = " ".join((command.help or "").split("\n\n")[0].split())
        assert sentence.rstrip(".").partition(". ")[0] in words


def test_version_lists_libraries() -> None:
    lines = CliRunner().invoke(cli, ["--version"]).output.splitlines()
    assert lines[0].startswith("fer-ray ")
    assert f"  python {sys.version.split()[0]}" in lines
    assert any(line.startswith("  ray ") for line in lines)


def test_completion_completes_commands() -> None:
    script = CliRunner().invoke(cli, ["completion", "bash"])
    assert "complete -o nosort -F _fer_ray_completion fer-ray" in script.output
    environment = {"_FER_RAY_COMPLETE": "bash_complete", "COMP_WORDS": "fer-ray summ",
                   "COMP_CWORD": "1"}  # fmt: skip
    done = subprocess.run(
        [sys.executable, "-m", "fer_ray"], env=environment | {"PYTHONPATH": ":".join(sys.path)},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.stdout.strip() == "plain,summary", done.stderr


@pytest.fixture
def images(corpus: Path, run_dir: Path, tmp_path: Path) -> list[Path]:
    """A file of a surprised face, and one without a face."""
    frames = pd.read_parquet(run_dir / "frames", columns=["path", "emotion"])
    face = corpus / frames.query("emotion == 'surprise'")["path"].iloc[0]
    wall = tmp_path / "wall.png"
    cv2.imwrite(str(wall), np.full((90, 90), 99, np.uint8))
    return [face, wall]


@pytest.mark.slow
def test_few_images_have_a_row_each(
    kept_bundle: Path, images: list[Path], tmp_path: Path, fer_ray: FerRay
) -> None:
    out = tmp_path / "out"
    done = fer_ray("predict", kept_bundle, *images, "--out", out)
    assert done.returncode == 0, done.stderr
    words = [line.split() for line in done.stdout.splitlines()]
    lines = {first.rpartition("/")[2]: rest for first, *rest in words}
    assert lines["file"] == ["answer", "p", "second", "p"]
    stored = pd.read_parquet(out / "predictions")
    rows = stored.filter(regex="^p_")
    two = rows.dropna().iloc[0].nlargest(2)
    expected = [(str(name).removeprefix("p_"), f"{p:.2f}") for name, p in two.items()]
    shown = lines[images[0].name]
    if stored["answer"].dropna().iloc[0] == "abstained":
        assert shown.pop(0) == "abstained"
        shown[0] = shown[0].strip("()")
    assert shown == [*expected[0], *expected[1]]
    assert lines["wall.png"] == ["no", "face"]
    assert "prediction" not in lines  # no counts of classes


@pytest.mark.slow
def test_formats_have_the_same_rows(
    kept_bundle: Path, images: list[Path], tmp_path: Path, fer_ray: FerRay
) -> None:
    arguments = ("predict", kept_bundle, *images, "--out", tmp_path / "out")
    stored = fer_ray(*arguments)
    assert stored.returncode == 0, stored.stderr
    rows = pd.read_parquet(tmp_path / "out" / "predictions")
    as_json = fer_ray(*arguments, "--format", "json").stdout
    records = [json.loads(line) for line in as_json.splitlines()]
    assert [record["p_happy"] for record in records[:1]] == rows["p_happy"].dropna().tolist()
    assert records[0].keys() == set(rows.columns)
    table = pd.read_csv(io.StringIO(fer_ray(*arguments, "--format", "csv").stdout))
    assert table["box_width"].iloc[0] == rows["box_xywh"].iloc[0][2]
    assert table["p_happy"].dropna().tolist() == pytest.approx(rows["p_happy"].dropna().tolist())
    parquet = CliRunner().invoke(cli, [*map(str, arguments), "--format", "parquet"]).stdout_bytes
    pd.testing.assert_frame_equal(pd.read_parquet(io.BytesIO(parquet)), rows)


def test_empty_prediction_set_is_an_empty_cell(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    sets = pa.array([["happy", "fear"], [], None], pa.list_(pa.string()))
    write_table(pa.table({"row": [0, 1, 2], "prediction_set": sets}), tmp_path / "0.parquet")
    write_rows(tmp_path, "csv")
    assert capsys.readouterr().out.splitlines() == [
        "row,prediction_set",
        "0,happy fear",
        "1,",
        "2,",
    ]


def test_unusual_faces_have_a_note(tmp_path: Path) -> None:
    rows = {"path": ["a.png", "b.png"], "face_index": [0, 0], "status": ["ok", "ok"],
            "emotion": [None, None], "predicted": ["happy", "fear"], "answer": ["happy", "fear"],
            "p_happy": [0.8, 0.3], "p_fear": [0.2, 0.7], "ood_p_value": [0.6, 0.01]}  # fmt: skip
    write_table(pa.table(rows), tmp_path / "0.parquet")
    assert [line.split() for line in row_lines(tmp_path)] == [
        ["file", "answer", "p", "second", "p", "note"],
        ["a.png", "happy", "0.80", "fear", "0.20"],
        ["b.png", "fear", "0.70", "happy", "0.30", "unusual", "face"],
    ]


def test_options_that_exclude_each_other(tmp_path: Path, fer_ray: FerRay) -> None:
    done = fer_ray("predict", tmp_path, tmp_path, "--sheet")
    assert (done.returncode, "--sheet and --show-faces write files" in done.stderr) == (2, True)
    done = fer_ray("predict", tmp_path, tmp_path, "--json", "--format", "csv")
    assert (done.returncode, "pass one of them" in done.stderr) == (2, True)


@pytest.mark.slow
def test_show_describes_one_image(run_dir: Path, tmp_path: Path, fer_ray: FerRay) -> None:
    png = tmp_path / "drawing.png"
    predictions = pd.read_parquet(run_dir / "predictions" / f"{EXPERIMENT}.parquet")
    image_id = predictions["image_id"].iloc[0]
    tested = predictions[predictions["image_id"] == image_id]
    done = fer_ray("show", run_dir, image_id, "--png", png, "--json")
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    answer = next(one for one in found["answers"] if one["model"] == EXPERIMENT)
    assert answer["tested"] == len(tested)
    assert answer["correct"] == (tested["label"] == tested["predicted"]).sum()
    pixels, face = cv2.imread(str(png)), found["faces"][0]
    corners, landmarks = face_in_image(face, 350)
    x, y, side, _ = face["box_xywh"]
    assert corners.min(axis=0) == pytest.approx([x, y])
    assert corners.max(axis=0) == pytest.approx([x + side, y + side])
    for column, row in landmarks.round().astype(int):  # a synthetic image of 640 px is not scaled
        assert pixels[row, column].tolist() == [240, 183, 116]  # in BGR
    text = fer_ray("show", run_dir, f"{image_id}.png", "--png", png).stdout
    assert f"drawing: {png}" in text
    assert "status: ok" in text


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "message"), [("png", "is not one of the"), ("x/y", "Pass a path")]
)
def test_show_of_an_unknown_image(run_dir: Path, fer_ray: FerRay, name: str, message: str) -> None:
    done = fer_ray("show", run_dir, name)
    assert (done.returncode, message in done.stderr) == (2, True), done.stderr
