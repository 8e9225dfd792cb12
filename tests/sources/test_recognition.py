"""Recognise published data sets, and reject those that the user names wrongly."""

from pathlib import Path

import pytest

from fer_ray.errors import UserError
from fer_ray.settings.datasets import DATASETS, DatasetName
from fer_ray.settings.extraction import Selection
from fer_ray.sources.datasets.listing import list_source
from tests.sources.test_photographs import touch
from tests.sources.test_published import kinds, labels

JAFFE = [f"KA.AN1.{number}.tiff" for number in range(19)]
NAMES: list[tuple[str, list[str]]] = [
    ("jaffe", JAFFE),
    ("kdef", [f"AF{number:02}/AF{number:02}ANS.JPG" for number in range(19)]),
    ("rafd", [f"Rafd090_{n:02}_Moroccan_male_angry_left.jpg" for n in range(19)]),
    ("ckplus48", [f"anger/S{n:03}_001_00000014.png" for n in range(19)]),
]


@pytest.mark.parametrize(("dataset", "names"), NAMES)
def test_stray_image_is_unlabelled(tmp_path: Path, dataset: str, names: list[str]) -> None:
    touch(tmp_path, *names, "anger/example.jpg")
    listing = list_source(tmp_path, Selection(frames="all"))
    assert listing.summary["dataset"] == dataset
    assert labels(listing)["anger/example.jpg"] == (None, None)
    assert listing.summary["selected_by_emotion"] == {"anger": 19}
    [record] = listing.summary["quality"]
    assert (record["kind"], record["examples"]) == ("other_name", ["anger/example.jpg"])


def test_similar_names_are_reported(tmp_path: Path) -> None:
    touch(tmp_path, *JAFFE, "a.jpg", "b.jpg", "c.jpg")
    listing = list_source(tmp_path, Selection())
    assert "dataset" not in listing.summary
    [record] = listing.summary["quality"]
    assert (record["kind"], record["count"]) == ("similar_names", 19)
    assert record["examples"] == ["19 of 22 names look like JAFFE: pass --dataset jaffe"]
    touch(tmp_path, *(f"{number}.jpg" for number in range(20)))
    assert kinds(list_source(tmp_path, Selection())) == {}


def test_numbered_folders_are_reported(tmp_path: Path) -> None:
    touch(tmp_path, *(f"{part}/{code}/a.jpg" for part in ("train", "test") for code in range(1, 8)))
    listing = list_source(tmp_path, Selection())
    assert set(listing.table["label"].to_pylist()) == {None}
    [record] = listing.summary["quality"]
    assert (record["kind"], record["count"]) == ("numbered_folder", 14)
    assert "--dataset rafdb" in record["meaning"]
    touch(tmp_path, "Ann/a.jpg", "Bob/b.jpg")
    assert kinds(list_source(tmp_path, Selection())) == {}


def test_invalid_number_of_a_folder(tmp_path: Path) -> None:
    touch(tmp_path, "0/a.jpg", "4/b.jpg", "8/c.jpg")
    listing = list_source(tmp_path, Selection(dataset="rafdb"))
    assert listing.summary["selected_by_emotion"] == {"happy": 1}
    [record] = listing.summary["quality"]
    assert (record["kind"], record["examples"]) == ("invalid_label", ["0/", "8/"])
    assert "RAF-DB (1 to 7)" in record["meaning"]


@pytest.mark.parametrize(
    ("dataset", "names"),
    [
        ("rafdb", ["KA.AN1.39.tiff"]),
        ("affectnet", ["Rafd090_01_Caucasian_female_angry_frontal.jpg"]),
        ("ckplus48", ["1/a.png", "2/b.png"]),
        ("fer2013", ["a.png"]),
        ("ferplus", ["a.png"]),
        ("jaffe", ["happy/a.png", "sad/b.png"]),
        ("kdef", ["KA.AN1.39.tiff"]),
        ("rafd", ["AF01ANS.JPG"]),
    ],
)
def test_wrong_data_set_is_an_error(tmp_path: Path, dataset: DatasetName, names: list[str]) -> None:
    touch(tmp_path, *names)
    with pytest.raises(UserError) as raised:
        list_source(tmp_path, Selection(dataset=dataset))
    assert DATASETS[dataset].needs in str(raised.value)


def test_ckplus_needs_its_layout(tmp_path: Path) -> None:
    touch(tmp_path, "1/a.png", "2/b.png")
    with pytest.raises(UserError, match="cohn-kanade-images") as raised:
        list_source(tmp_path, Selection(dataset="ckplus"))
    assert "labels.csv" not in str(raised.value)
