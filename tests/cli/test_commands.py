"""The commands, most of them in a separate process."""

import json
import os
import pty
import re
import shutil
import subprocess
import sys
from dataclasses import replace
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import cv2
import duckdb
import numpy as np
import pandas as pd
import polars as pl
import pytest

from fer_ray import doctor
from fer_ray.cli.main import main
from fer_ray.evaluation.experiments.results import read_experiments
from fer_ray.pipelines.run_record import matches
from fer_ray.schemas import frames_schema
from fer_ray.settings.feature_sets import FEATURE_SETS
from fer_ray.storage import environment
from tests.conftest import FerRay

pytestmark = pytest.mark.slow


def test_run_writes_the_documented_tables(run_dir: Path) -> None:
    record = json.loads((run_dir / "run.json").read_text())
    assert {"settings", "versions", "seeds", "counts", "timings", "experiments"} <= record.keys()
    frames = pd.read_parquet(run_dir / "frames")
    assert sum(record["counts"].values()) == len(frames)
    widths = {
        name: FEATURE_SETS[name].width for name in record["settings"]["extract"]["features"]["sets"]
    }
    assert list(frames.columns) == frames_schema(widths).names
    ok = frames[frames["status"] == "ok"]
    assert np.stack(ok["landmarks_xy"]).shape == (len(ok), 136)
    assert np.stack(ok["landmarks_xy"]).dtype == np.float32
    trials = pd.read_parquet(run_dir / "trials")
    assert trials.groupby("experiment").size().to_dict() == {
        "svm-linear-reference-random": 10,
        "svm-poly-reference-random": 10,
    }
    assert (run_dir / "report" / "index.html").is_file()
    assert not list(run_dir.glob("*.partial"))


def test_duckdb_and_polars_read_the_rows(run_dir: Path) -> None:
    pattern = str(run_dir / "frames" / "*.parquet")
    query = f"SELECT status, count(*), max(len(landmarks_xy)) FROM '{pattern}' GROUP BY status"
    counts = {status: count for status, count, _ in duckdb.sql(query).fetchall()}
    assert counts == json.loads((run_dir / "run.json").read_text())["counts"]
    frame = pl.read_parquet(pattern)
    assert frame.schema["landmarks_xy"] == pl.Array(pl.Float32, 136)
    assert frame.schema["features_reference"] == pl.Array(pl.Float32, 268)


def test_crops_are_exported_by_emotion(run_dir: Path) -> None:
    frames = pd.read_parquet(run_dir / "frames", columns=["image_id", "emotion", "detector"])
    crops = sorted((run_dir.parent / "crops").glob("*/*.png"))
    expected = frames[frames["detector"].notna()]
    assert {(crop.parent.name, crop.stem) for crop in crops} == set(
        zip(expected["emotion"], expected["image_id"], strict=True)
    )
    assert cv2.imread(str(crops[0]), cv2.IMREAD_UNCHANGED).shape == (350, 350)


def test_finished_run_is_not_recomputed(corpus: Path, run_dir: Path, fer_ray: FerRay) -> None:
    before = {
        path: path.stat().st_mtime_ns for path in run_dir.rglob("*.*") if path.name != ".lock"
    }
    again = fer_ray("run", "--data", corpus, "--out", run_dir, "--profile", "fast", "--json")
    assert again.returncode == 0, again.stderr
    record = json.loads(again.stdout)
    assert record == json.loads((run_dir / "run.json").read_text())
    assert {path: path.stat().st_mtime_ns for path in before} == before

    summaries = [item.summary for item in read_experiments(run_dir)]
    done = {"settings": record["settings"], "show_faces": record["show_faces"]}
    assert matches(record, done, summaries)
    other = [replace(summaries[0], test_accuracy=0.1), *summaries[1:]]  # of other weights
    assert not matches(record, done, other)


@pytest.mark.thorough
def test_single_steps_give_the_results_of_the_run(
    corpus: Path, run_dir: Path, fer_ray: FerRay, tmp_path: Path
) -> None:
    for step in (
        ("extract", "--data", corpus, "--out", tmp_path, "--profile", "fast", "--workers", 1),
        ("trials", "--out", tmp_path, "--set", "execution.executor=in-process"),
        ("report", "--out", tmp_path),
    ):
        done = fer_ray(*step)
        assert done.returncode == 0, done.stderr
    for table in ("frames", "trials", "predictions"):
        ours, theirs = pd.read_parquet(tmp_path / table), pd.read_parquet(run_dir / table)
        drop = ["seconds"] if table == "trials" else []
        pd.testing.assert_frame_equal(ours.drop(columns=drop), theirs.drop(columns=drop))


FURTHER = ("--protocol", "subject-10fold", "--kernels", "linear", "--scale", "standard",
           "--set", "execution.executor=in-process")  # fmt: skip


@pytest.fixture(scope="module")
def further(run_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str, str]:
    """The run folder after further trials, the progress on the terminal, and standard output."""
    out = Path(shutil.copytree(run_dir, tmp_path_factory.mktemp("further") / "run"))
    ours, theirs = pty.openpty()
    command = [sys.executable, "-m", "fer_ray", "trials", "--out", str(out), *FURTHER]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=theirs, text=True) as process:
        os.close(theirs)
        shown = read_terminal(ours)
        assert process.stdout is not None
        closing = process.stdout.read()
    assert process.returncode == 0, shown
    return out, shown, closing


def test_second_protocol_is_added(further: tuple[Path, str, str], fer_ray: FerRay) -> None:
    out, _, closing = further
    again = fer_ray("trials", "--out", out, *FURTHER, "--json")
    assert again.returncode == 0, again.stderr
    [added] = json.loads(again.stdout)["experiments"]
    assert added["experiment"] == "svm-linear-reference-subject-10fold-scale=standard"
    assert added["test_subject_in_train"] == 0
    assert added["interval_method"] == "bootstrap over subjects"
    assert added["experiment"] in closing
    assert "reference-random" not in closing
    assert f"2 other experiments: see `fer-ray summary --out {out}`" in closing
    everything = json.loads(fer_ray("summary", "--out", out, "--json").stdout)
    experiments = {one["experiment"]: one for one in everything["experiments"]}
    assert len(experiments) == 3
    assert experiments[added["experiment"]] == added
    assert experiments["svm-linear-reference-random"]["test_subject_in_train"] > 0.5


def test_terminal_shows_a_progress_bar(further: tuple[Path, str, str]) -> None:
    assert re.search(r"starting.*trials.*10/10 trials", further[1], re.DOTALL)


def test_doctor_passes(fer_ray: FerRay, tmp_path: Path) -> None:
    done = fer_ray("doctor", "--out", tmp_path)
    assert done.returncode == 0, done.stdout
    assert "ok   Ray: starts" in done.stdout


def test_doctor_reports_a_broken_library(tmp_path: Path) -> None:
    (tmp_path / "cv2.py").write_text("raise ImportError('libGL.so.1: cannot open shared object')")
    done = subprocess.run(
        [sys.executable, "-m", "fer_ray", "doctor", "--no-ray", "--out", str(tmp_path)],
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert (done.returncode, "Traceback" in done.stderr) == (1, False), done.stderr
    assert "FAIL compiled libraries: cv2 cannot be imported: libGL.so.1" in done.stdout


@pytest.mark.parametrize(
    ("listed", "installed"), [("dlib-bin", "dlib"), ("tensorflow", "tensorflow-cpu")]
)
def test_doctor_accepts_another_distribution(
    monkeypatch: pytest.MonkeyPatch, listed: str, installed: str
) -> None:
    def other_build(name: str) -> str:
        if name == listed:
            raise PackageNotFoundError(name)
        return version(listed if name == installed else name)

    monkeypatch.setattr(doctor, "version", other_build)
    checks = doctor.run_checks(Path(), None, start_ray=False)
    assert next(check for check in checks if check.subject == "libraries").ok


def test_doctor_respects_the_limit_of_a_container(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for name, limit in (("v1", "1073741824\n"), ("v2", "max\n")):
        (tmp_path / name).write_text(limit)
    limits = tuple(tmp_path / name for name in ("v1", "v2", "none"))
    monkeypatch.setattr(environment, "MEMORY_LIMITS", limits)
    checks = doctor.run_checks(Path(), None, start_ray=False)
    check = next(check for check in checks if check.subject == "CPUs and memory")
    assert not check.ok
    assert ", 1.0 GiB of memory available: less than 3 GiB" in check.text


def test_doctor_reports_missing_files(fer_ray: FerRay, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    model = tmp_path / "none.dat"
    done = fer_ray("doctor", "--no-ray", "--out", tmp_path / "file" / "x", "--landmark-file", model)
    assert done.returncode == 1
    assert "FAIL landmark model: " in done.stdout
    assert "FAIL output folder" in done.stdout


USER_ERRORS = {
    "no such data": (("run", "--data", "nowhere", "--out", "OUT"), 2, "nowhere does not exist"),
    "an empty folder": (("run", "--data", "EMPTY", "--out", "OUT"), 2, "0 images found"),
    "an unknown setting": (
        ("run", "--data", "EMPTY", "--out", "OUT", "--set", "trials.c=1"), 2,
        "this setting does not exist",
    ),
    "no data named": (("run", "--out", "OUT"), 2, "Missing option '--data'"),
    "trials before frames": (("trials", "--out", "OUT"), 2, "has no finished frames"),
    "a report before trials": (("report", "--out", "OUT"), 2, "has no finished frames"),
    "zero workers": (
        ("run", "--data", "EMPTY", "--out", "OUT", "--workers", "0"), 2, "execution.workers",
    ),
    "an output that is a file": (("trials", "--out", "FILE"), 2, "Cannot write to"),
    "no such command": (("frobnicate",), 2, "No such command"),
    "a corpus in a folder in use": (("synth", "USED"), 2, "USED"),
    "a corpus where writing is not permitted": (("synth", "/proc/x/y"), 2, "Cannot write to"),
    "no label anywhere": (
        ("run", "--data", "PICTURES", "--out", "OUT"), 2, "has no labelled image",
    ),
    "not a number": (
        ("run", "--data", "EMPTY", "--out", "OUT", "--gamma", "nan"), 2, "trials.gamma",
    ),
    "an invalid landmark model": (
        ("extract", "--data", "PICTURES", "--out", "OUT", "--landmark-file", "FILE"), 2,
        "is not a dlib shape predictor",
    ),
    "output among the images": (
        ("extract", "--data", "PICTURES", "--out", "PICTURES/OUT"), 2, "Choose a folder outside",
    ),
    "output in a folder with a list": (
        ("extract", "--data", "LISTED", "--out", "LISTED/runs/OUT"), 2, "Choose a folder outside",
    ),
    "a store among the images": (
        ("sweep", "--source", "PICTURES", "--store", "PICTURES/STORE"), 2,
        "PICTURES/STORE is inside the source PICTURES",
    ),
    "crops in a folder in use": (
        ("extract", "--data", "CORPUS", "--out", "OUT", "--export-crops", "USED"), 2,
        "other than exported crops",
    ),
    "crops among the images": (
        ("extract", "--data", "PICTURES", "--out", "OUT", "--export-crops", "PICTURES/CROPS"), 2,
        "Choose a folder outside",
    ),
    "crops where writing is not permitted": (
        ("extract", "--data", "CORPUS", "--out", "OUT", "--export-crops", "/proc/x/crops"), 2,
        "Cannot write to",
    ),
    "a malformed source URI": (
        ("sweep", "--source", "s3://[b/x", "--store", "OUT"), 2, "--source s3://…: Invalid",
    ),
    "a malformed store URI": (
        ("sweep", "--source", "PICTURES", "--store", "s3://[b/x"), 2, "--store s3://…: Invalid",
    ),
    "a source that needs a missing package": (
        ("sweep", "--source", "hf://datasets/x", "--store", "OUT"), 2,
        "--source hf://datasets/x: Install huggingface_hub",
    ),
    "a source without an image": (
        ("sweep", "--source", "EMPTY", "--store", "OUT"), 5, "EMPTY contains no images",
    ),
    "a missing source": (
        ("sweep", "--source", "nowhere", "--store", "OUT"), 5, "nowhere does not exist",
    ),
    "a report on missing images": (
        ("report", "--out", "OUT", "--data", "nowhere"), 2, "nowhere does not exist",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", USER_ERRORS)
def test_user_errors_print_one_message(
    name: str, tmp_path: Path, tiny_corpus: Path,
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    arguments, code, message = USER_ERRORS[name]
    (tmp_path / "CORPUS").symlink_to(tiny_corpus)
    (tmp_path / "PICTURES").mkdir()
    (tmp_path / "PICTURES" / "a.png").write_bytes(b"not an image")
    (tmp_path / "EMPTY").mkdir()
    (tmp_path / "USED").mkdir()
    (tmp_path / "USED" / "thesis.doc").write_text("precious")
    (tmp_path / "FILE").write_text("")
    (tmp_path / "LISTED").mkdir()
    (tmp_path / "LISTED" / "labels.csv").write_text("path,emotion\na.png,happy\n")
    monkeypatch.chdir(tmp_path)
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(SystemExit) as exit_info:
        main(arguments)
    printed = capsys.readouterr().err
    assert (exit_info.value.code, "Traceback" in printed) == (code, False), printed
    assert message in printed
    if not (tmp_path / "OUT" / "sweeps").exists():  # the manifest of a sweep, whatever its end
        assert sorted(tmp_path.rglob("*")) == before
    assert (tmp_path / "USED" / "thesis.doc").read_text() == "precious"


def test_data_without_faces_stores_its_rows(fer_ray: FerRay, tmp_path: Path) -> None:
    for emotion in ("happy", "anger"):
        (tmp_path / "data" / emotion).mkdir(parents=True)
        for number in range(5):
            file = tmp_path / "data" / emotion / f"wall{number}.png"
            cv2.imwrite(str(file), np.full((90, 90), 90 + number, np.uint8))
    done = fer_ray("run", "--data", tmp_path / "data", "--out", tmp_path / "run")
    assert done.returncode == 2
    assert "nothing to train on" in done.stderr
    assert "Traceback" not in done.stderr
    frames = pd.read_parquet(tmp_path / "run" / "frames")
    assert frames["status"].tolist() == ["no_face"] * 10
    assert not (tmp_path / "run" / "run.json").exists()


def read_terminal(descriptor: int) -> str:
    """Read a terminal until its other end is closed."""
    parts = []
    while True:
        try:
            part = os.read(descriptor, 65536)
        except OSError:  # the other end is closed
            break
        if not part:
            break
        parts.append(part)
    os.close(descriptor)
    return b"".join(parts).decode(errors="replace")
