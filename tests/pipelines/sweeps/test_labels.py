"""Labels of a sweep: from a labels.csv, from folders, or from neither."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fer_ray.errors import UserError
from fer_ray.execution.progress import silent
from fer_ray.pipelines.sweep import run_sweep
from fer_ray.pipelines.sweeps.context import SweepRequest
from fer_ray.settings.extraction import Selection
from fer_ray.settings.root import Settings
from tests.pipelines.sweeps.conftest import FAST, IN_PROCESS, rows, tiny_image


def images(root: Path, *names: str) -> Path:
    for seed, name in enumerate(names):
        tiny_image(root / name, seed)
    return root


def sweep_labels(root: Path, **selection: Any) -> tuple[dict[str, str | None], dict[str, Any]]:
    """The emotion of each image after a sweep, and the manifest."""
    store = root.with_name("store")
    extract = FAST.model_copy(update={"selection": Selection(**selection)})
    settings = Settings(extract=extract, execution=IN_PROCESS)
    manifest = run_sweep(SweepRequest(str(root), str(store), settings, silent))
    return {row["path"]: row["emotion"] for row in rows(store, "images")}, manifest


def kinds(manifest: dict[str, Any]) -> dict[str, int]:
    return {record["kind"]: record["count"] for record in manifest["quality"]}


def test_paths_in_another_spelling_are_matched(tmp_path: Path) -> None:
    root = images(tmp_path / "source", "a/1.png", "b/2.png", "c/3.png", "D.png")
    lines = "a\\1.png,happy\nB/2.PNG,sad\nc/3,4\nd,fear\nx.png,fear\n"
    (root / "labels.csv").write_text(f"path,emotion\n{lines}")
    labels, manifest = sweep_labels(root)
    assert labels == {"D.png": "fear", "a/1.png": "happy", "b/2.png": "sadness", "c/3.png": "fear"}
    assert kinds(manifest) == {"respelled_path": 4, "unknown_path": 1, "assumed_codes": 1}
    assert manifest["labels_by_emotion"] == {"fear": 3, "happy": 1, "sadness": 1}


def test_labels_file_about_something_else(tmp_path: Path) -> None:
    root = images(tmp_path / "source", "01_fear/1.png", "Joyful/2.png", "suprise/3.png")
    (root / "labels.csv").write_text("id,name\n1,Ann\n")
    labels, manifest = sweep_labels(root)
    assert labels == {"01_fear/1.png": "fear", "Joyful/2.png": "happy", "suprise/3.png": None}
    assert kinds(manifest) == {
        "other_labels_file": 1, "no_emotion_folder": 1, "near_emotion_folder": 1
    }  # fmt: skip
    folders = {entry["folder"]: entry["emotion"] for entry in manifest["class_folders"]}
    assert folders == {"01_fear": "fear", "Joyful": "happy"}
    with pytest.raises(UserError, match="no column path"):
        sweep_labels(root, layout="csv")


def test_person_named_like_an_emotion_is_no_class(tmp_path: Path) -> None:
    root = images(tmp_path / "source", "Joy/1.png", "Peter/2.png")
    labels, manifest = sweep_labels(root)
    assert labels == {"Joy/1.png": None, "Peter/2.png": None}
    assert kinds(manifest) == {"single_class": 1}
    labels, manifest = sweep_labels(root, layout="folders")
    assert labels == {"Joy/1.png": "happy", "Peter/2.png": None}
    assert manifest["planned"]["relabelled"]["images"] == 1


def test_moved_to_trash_is_deleted(tmp_path: Path) -> None:
    root = images(tmp_path / "source", "a.png", "b.png", "c.png", "d.png")
    sweep_labels(root)
    (root / "#recycle").mkdir()
    (root / "a.png").rename(root / "#recycle/a.png")
    (root / "b.png").rename(root / ".b.png")
    labels, manifest = sweep_labels(root, hidden_files=True)
    assert labels.keys() == {".b.png", "c.png", "d.png"}
    assert kinds(manifest) == {"junk_file": 1}


def test_picture_with_two_labels_is_a_conflict(tmp_path: Path) -> None:
    root = images(tmp_path / "source", "happy/1.png", "sad/2.png", "sad/3.png")
    (root / "sad/copy.png").write_bytes((root / "happy/1.png").read_bytes())
    (root / "sad/twin.png").write_bytes((root / "sad/2.png").read_bytes())
    _, manifest = sweep_labels(root)
    [record] = manifest["quality"]
    assert (record["kind"], record["count"]) == ("label_conflict", 1)
    assert record["examples"] == ["happy/1.png (happy) = sad/copy.png (sadness)"]


def test_labels_in_names_of_a_published_data_set(tmp_path: Path) -> None:
    root = images(tmp_path / "source", "KA.AN1.39.png", "KL.HA2.40.png")
    labels, _ = sweep_labels(root, dataset="jaffe")
    assert labels == {"KA.AN1.39.png": "anger", "KL.HA2.40.png": "happy"}
    assert {row["subject"] for row in rows(root.with_name("store"), "images")} == {"KA", "KL"}


def test_label_files_of_published_data_sets(tmp_path: Path) -> None:
    root = images(tmp_path / "rafdb" / "source", *(f"train_0000{n}_aligned.png" for n in (1, 2, 3)))
    (root / "list_patition_label.txt").write_text("train_00001.jpg 5\ntrain_00002.jpg 9\nx.jpg 1\n")
    labels, manifest = sweep_labels(root)
    assert [labels[f"train_0000{n}_aligned.png"] for n in (1, 2, 3)] == ["sadness", None, None]
    assert kinds(manifest) == {"invalid_label": 1, "unknown_path": 1, "unlisted_image": 1}
    root = images(tmp_path / "ferplus" / "source", "FER2013Train/fer0000000.png")
    header = "Usage,Image name,neutral,happiness,surprise,sadness,anger,disgust,fear,contempt"
    votes = f"{header},unknown,NF\nTraining,fer0000000.png,0,8,1,0,0,0,0,0,1,0\n"
    (root / "fer2013new.csv").write_text(votes)
    assert sweep_labels(root)[0] == {"FER2013Train/fer0000000.png": "happy"}
    root = images(tmp_path / "affectnet" / "source", "val_set/images/7.png", "val_set/images/8.png")
    (root / "val_set" / "annotations").mkdir()
    np.save(root / "val_set" / "annotations" / "7_exp.npy", "6")
    labels, manifest = sweep_labels(root, dataset="affectnet")
    assert labels == {"val_set/images/7.png": "anger", "val_set/images/8.png": None}
    assert kinds(manifest) == {"no_label": 1}


def test_tables_of_affectnet(tmp_path: Path) -> None:
    root = images(tmp_path / "source", "1/a.png", "2/b.png")
    header = "subDirectory_filePath,expression\n"
    (root / "training.csv").write_text(f"{header}1/a.jpg,6\n")
    (root / "validation.csv").write_text(f"{header}2/b.jpg,8\n")
    labels, manifest = sweep_labels(root)
    assert labels == {"1/a.png": "anger", "2/b.png": None}
    assert kinds(manifest) == {"other_class": 1}


def test_wrong_data_set_is_an_error(tmp_path: Path) -> None:
    root = images(tmp_path / "source", "1/a.png", "2/b.png")
    for dataset in ("jaffe", "affectnet"):
        with pytest.raises(UserError, match="does not have the layout of"):
            sweep_labels(root, dataset=dataset)
    with pytest.raises(UserError, match="does not have the CK"):
        sweep_labels(root, dataset="ckplus")


def test_rows_of_pixels_are_refused(tmp_path: Path) -> None:
    root = images(tmp_path / "source", "1.png")
    (root / "fer2013.csv").write_text("emotion,pixels,Usage\n0,1 2 3 4,Training\n")
    with pytest.raises(UserError, match="Use fer-ray extract"):
        sweep_labels(root, dataset="fer2013")
    (root / "1.png").unlink()
    with pytest.raises(UserError, match="Use fer-ray extract"):
        sweep_labels(root)
