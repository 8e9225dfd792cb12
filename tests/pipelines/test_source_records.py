"""What the record of an extraction says about its source."""

import json
from pathlib import Path

import cv2

from fer_ray.cli.main import cli
from tests.conftest import run_in_process
from tests.images import read_gray
from tests.sources.test_published import fer2013

FAST = ("--profile", "fast", "--set", "execution.executor=in-process", "--workers", "1")


def test_negatives_and_conflicting_labels_are_reported(tiny_corpus: Path, tmp_path: Path) -> None:
    faces = sorted(tiny_corpus.rglob("*.png"))[:5]
    for folder in ("happy", "sad"):
        (tmp_path / "data" / folder).mkdir(parents=True)
    for number, file in enumerate(faces):
        negative = 255 - read_gray(file)
        cv2.imwrite(str(tmp_path / "data/happy" / f"{number}.png"), negative)
    cv2.imwrite(str(tmp_path / "data/sad/copy.png"), 255 - read_gray(faces[0]))
    call = ("extract", "--data", tmp_path / "data", "--out", tmp_path / "run", *FAST)
    record = json.loads(run_in_process(*call, "--json").stdout)
    [conflict] = record["data"]["quality"]
    assert conflict["examples"] == ["happy/0.png (happy) = sad/copy.png (sadness)"]
    assert record["counts"]["no_face"] >= 5
    assert "images without a face show one when they are inverted" in record["advice"][-1]
    shown = run_in_process(*call).stdout
    assert "images by label: happy (5), sadness (1)" in shown
    assert "identical files with different labels" in shown


def test_rows_of_pixels_are_extracted(tmp_path: Path) -> None:
    fer2013(tmp_path / "fer2013.csv", side=48)
    call = ("extract", "--data", tmp_path / "fer2013.csv", "--out", tmp_path / "run", *FAST)
    shown = run_in_process(*call).stdout
    assert "data set: FER2013; licence:" in shown
    record = json.loads(run_in_process(*call, "--json").stdout)
    assert record["data"]["selected_by_emotion"].keys() == {"neutral", "anger", "happy", "sadness"}
    assert record["data"]["sizes"] == {"48×48": 4}


def test_options_of_the_source_are_offered_everywhere() -> None:
    options = {"--layout", "--dataset", "--label-codes", "--hidden-files"}
    for name in ("extract", "run", "predict", "sweep", "plan", "retry-failed"):
        names = {flag for option in cli.commands[name].params for flag in option.opts}
        assert options <= names, name
