"""Published data sets: tiny trees in their layout."""

from pathlib import Path

import numpy as np
import pytest

from fer_ray.errors import UserError
from fer_ray.evaluation.protocols.splits import make_splits, official_part
from fer_ray.settings.datasets import DATASETS
from fer_ray.settings.extraction import Decode, Selection
from fer_ray.settings.training import TrialSettings
from fer_ray.sources.datasets.listing import Listing, list_source
from fer_ray.sources.decoding import decode_file
from fer_ray.vocabulary import Status
from tests.sources.test_photographs import touch

VOTES = "Usage,Image name,neutral,happiness,surprise,sadness,anger,disgust,fear,contempt,unknown,NF"


def labels(listing: Listing) -> dict[str, tuple[str | None, str | None]]:
    """Emotion and subject of each image."""
    rows = listing.table.to_pylist()
    return {row["path"]: (row["emotion"], row["subject"]) for row in rows}


def kinds(listing: Listing) -> dict[str, int]:
    return {record["kind"]: record["count"] for record in listing.summary["quality"]}


def fer2013(file: Path, side: int = 8) -> np.ndarray:
    """Write a table of pixels; return its images."""
    images = np.random.default_rng(0).integers(0, 256, (4, side, side))
    usages, emotions = ("Training", "Training", "PublicTest", "PrivateTest"), (0, 3, 6, 4)
    lines = [
        f"{emotion},{' '.join(map(str, image.ravel()))},{usage}\n"
        for emotion, image, usage in zip(emotions, images, usages, strict=True)
    ]
    file.write_text("emotion,pixels,Usage\n" + "".join(lines))
    return images


@pytest.mark.parametrize(
    ("dataset", "names", "expected"),
    [
        (
            "jaffe",
            ("jaffe/KA.AN1.39.tiff", "jaffe/NA.SU2.203.tiff"),
            {"jaffe/KA.AN1.39.tiff": ("anger", "KA"), "jaffe/NA.SU2.203.tiff": ("surprise", "NA")},
        ),
        (
            "kdef",
            ("AF01/AF01ANS.JPG", "BM35/BM35AFHL.JPG"),
            {"AF01/AF01ANS.JPG": ("anger", "F01"), "BM35/BM35AFHL.JPG": ("fear", "M35")},
        ),
        (
            "rafd",
            ("Rafd090_01_Caucasian_female_angry_frontal.jpg",
             "Rafd045_66_Moroccan_male_contemptuous_left.jpg"),
            {"Rafd090_01_Caucasian_female_angry_frontal.jpg": ("anger", "01"),
             "Rafd045_66_Moroccan_male_contemptuous_left.jpg": ("contempt", "66")},
        ),
        (
            "ckplus48",
            ("anger/S010_004_00000017.png", "happy/S011_006_00000013.png"),
            {"anger/S010_004_00000017.png": ("anger", "S010"),
             "happy/S011_006_00000013.png": ("happy", "S011")},
        ),
    ],
)  # fmt: skip
def test_names_of_files_are_read(
    tmp_path: Path, dataset: str, names: tuple[str, ...], expected: dict[str, tuple[str, str]]
) -> None:
    listing = list_source(touch(tmp_path, *names), Selection())
    assert listing.summary["dataset"] == dataset
    assert labels(listing) == expected
    touch(tmp_path, "happy/other.jpg")  # not of the data set
    assert "dataset" not in list_source(tmp_path, Selection(frames="all")).summary


def test_ckplus48_has_sequences(tmp_path: Path) -> None:
    touch(tmp_path, "anger/S010_004_00000017.png", "happy/S011_006_00000013.png")
    [row, _] = list_source(tmp_path, Selection()).table.to_pylist()
    assert (row["subject"], row["session"], row["frame"]) == ("S010", "004", 17)


def test_session_of_ckplus_is_no_label(tmp_path: Path) -> None:
    touch(tmp_path, "faces/S010/004/S010_004_00000017.png", "faces/S011/006/S011_006_00000013.png")
    listing = list_source(tmp_path, Selection())
    assert listing.table["label"].to_pylist() == [None, None]
    assert "dataset" not in listing.summary
    with pytest.raises(UserError, match="in folders named after emotions"):
        list_source(tmp_path, Selection(dataset="ckplus48"))


def test_rows_of_pixels_are_images(tmp_path: Path) -> None:
    images = fer2013(tmp_path / "fer2013.csv")
    for data in (tmp_path, tmp_path / "fer2013.csv"):
        listing = list_source(data, Selection())
        assert listing.summary["dataset"] == "fer2013"
        assert {path: emotion for path, (emotion, _) in labels(listing).items()} == {
            "fer2013.csv#Training-00000": "anger", "fer2013.csv#Training-00001": "happy",
            "fer2013.csv#PublicTest-00002": "neutral", "fer2013.csv#PrivateTest-00003": "sadness",
        }  # fmt: skip
        assert min(listing.files()["size"].to_pylist()) > 0
    for path in listing.table["path"].to_pylist():
        decoded = decode_file(listing.root / path, Decode())
        assert np.array_equal(decoded.gray, images[int(path.rpartition("-")[2])])


def test_damaged_row_of_pixels_is_unreadable(tmp_path: Path) -> None:
    (tmp_path / "fer2013.csv").write_text(
        "emotion,pixels\n0,1 2 3 4 5\n1,300 0 0 0\n2,\n\n3,1 2 3 4"
    )
    paths = list_source(tmp_path, Selection()).table["path"].to_pylist()
    results = [decode_file(tmp_path / path, Decode()) for path in sorted(paths)]
    assert {result.status for result in results[:3]} == {Status.UNREADABLE}
    assert "row 0 of fer2013.csv has 5 pixels instead of 2×2" in str(results[0].error)
    assert "row 1 of fer2013.csv has pixels above 255" in str(results[1].error)


def test_row_of_another_size_is_damaged(tmp_path: Path) -> None:
    rows = [" ".join("7" * side * side) for side in (48, 48, 24)]
    (tmp_path / "fer2013.csv").write_text(
        "emotion,pixels\n" + "".join(f"3,{row}\n" for row in rows)
    )
    paths = list_source(tmp_path, Selection()).table["path"].to_pylist()
    *whole, damaged = [decode_file(tmp_path / path, Decode()) for path in paths]
    assert {result.status for result in whole} == {Status.OK}
    assert damaged.status == Status.UNREADABLE
    assert "row 2 of fer2013.csv has 576 pixels instead of 48×48" in str(damaged.error)


@pytest.mark.parametrize("delimiter", [";", "\t"])
def test_rows_of_pixels_with_other_delimiters(tmp_path: Path, delimiter: str) -> None:
    file = tmp_path / "fer2013.csv"
    images = fer2013(file)
    file.write_text(file.read_text().replace(",", delimiter))
    listing = list_source(tmp_path, Selection())
    assert listing.summary["dataset"] == "fer2013"
    assert labels(listing)["fer2013.csv#PrivateTest-00003"] == ("sadness", None)
    decoded = decode_file(tmp_path / "fer2013.csv#PrivateTest-00003", Decode())
    assert np.array_equal(decoded.gray, images[3])


def test_empty_lines_do_not_shift_labels(tmp_path: Path) -> None:
    (tmp_path / "fer2013.csv").write_text("emotion,pixels\n0,1 1 1 1\n\n3,2 2 2 2\n")
    [_, row] = list_source(tmp_path, Selection()).table.to_pylist()
    assert (row["path"], row["emotion"]) == ("fer2013.csv#row-00002", "happy")
    assert decode_file(tmp_path / row["path"], Decode()).gray.max() == 2


def test_fer2013_in_folders(tmp_path: Path) -> None:
    touch(tmp_path, "train/angry/0.jpg", "train/happy/1.jpg", "test/0/2.jpg", "test/3/3.jpg")
    listing = list_source(tmp_path, Selection(dataset="fer2013"))
    assert [emotion for emotion, _ in labels(listing).values()] == [
        "anger", "happy", "anger", "happy"
    ]  # fmt: skip


def test_rafdb_list(tmp_path: Path) -> None:
    touch(
        tmp_path, "Image/original/train_00001.jpg", "Image/aligned/train_00001_aligned.jpg",
        "Image/aligned/test_0001_aligned.jpg",
    )  # fmt: skip
    (tmp_path / "EmoLabel").mkdir()
    (tmp_path / "EmoLabel/list_patition_label.txt").write_text(
        "train_00001.jpg 5\ntest_0001.jpg 7\ntest_0002.jpg 1\n"
    )
    listing = list_source(tmp_path, Selection())
    assert listing.summary["dataset"] == "rafdb"
    assert labels(listing) == {
        "Image/aligned/test_0001_aligned.jpg": ("neutral", None),
        "Image/aligned/train_00001_aligned.jpg": ("sadness", None),
    }
    assert kinds(listing)["unknown_path"] == 1


def test_affectnet_annotations(tmp_path: Path) -> None:
    touch(tmp_path, *(f"{part}/images/{n}.jpg" for part in ("train_set", "val_set") for n in "12"))
    for name, value in {"train_set/1": "1", "train_set/2": "8", "val_set/1": "7"}.items():
        file = tmp_path / f"{name.replace('/', '/annotations/')}_exp.npy"
        file.parent.mkdir(exist_ok=True)
        np.save(file, value)
    listing = list_source(tmp_path, Selection(frames="all"))
    assert listing.summary["dataset"] == "affectnet"
    assert labels(listing) == {
        "train_set/images/1.jpg": ("happy", None), "train_set/images/2.jpg": (None, None),
        "val_set/images/1.jpg": ("contempt", None), "val_set/images/2.jpg": (None, None),
    }  # fmt: skip
    assert kinds(listing) == {"other_class": 1, "no_label": 1}


@pytest.mark.parametrize("with_files", [True, False])
def test_ferplus_votes(tmp_path: Path, with_files: bool) -> None:
    lines = (
        "Training,fer0000000.png,4,0,0,1,3,2,0,0,0,0",
        "Training,fer0000001.png,0,6,0,1,1,0,0,0,0,2",
        "PublicTest,fer0000002.png,0,0,0,0,0,0,0,0,9,1",
        "PrivateTest,fer0000003.png,0,0,1,0,0,0,0,9,0,0",
    )
    (tmp_path / "fer2013new.csv").write_text("\n".join((VOTES, *lines)))
    if with_files:
        folders = ("FER2013Train", "FER2013Train", "FER2013Valid", "FER2013Test")
        touch(tmp_path, *(f"{folder}/fer000000{n}.png" for n, folder in enumerate(folders)))
    else:
        fer2013(tmp_path / "fer2013.csv")
    listing = list_source(tmp_path, Selection(frames="all"))
    assert listing.summary["dataset"] == "ferplus"
    assert sorted(listing.summary["selected_by_emotion"]) == ["contempt", "happy"]
    assert kinds(listing)["no_majority"] == 2
    parts = {official_part(path) for path in listing.table["path"].to_pylist()}
    assert parts == {"train", "validation", "test"}


@pytest.mark.parametrize(
    ("paths", "train", "test"),
    [
        (["train/happy/0.jpg", "train/sad/1.jpg", "test/sad/2.jpg"] * 2, [0, 1, 3, 4], [2, 5]),
        (["a/train_0.jpg", "a/train_1.jpg", "a/test_2_aligned.jpg"] * 2, [0, 1, 3, 4], [2, 5]),
        (["f.csv#Training-0", "f.csv#Training-1", "f.csv#PrivateTest-2"] * 2, [0, 1, 3, 4], [2, 5]),
        (["train_set/0", "train_set/1", "val_set/2"] * 2, [0, 1, 3, 4], [2, 5]),
    ],
)  # fmt: skip
def test_official_splits(paths: list[str], train: list[int], test: list[int]) -> None:
    codes = np.array([5, 6, 6] * 2, np.int8)
    [split] = make_splits(TrialSettings(protocol="official"), codes, [None] * 6, paths)
    with pytest.raises(UserError, match="official needs"):
        make_splits(TrialSettings(protocol="official"), codes, [None] * 6, ["a.jpg"] * 6)
    assert (split.train.tolist(), split.test.tolist()) == (train, test)


def test_every_data_set_has_licence_and_citation() -> None:
    assert all(spec.licence and spec.citation for spec in DATASETS.values())
