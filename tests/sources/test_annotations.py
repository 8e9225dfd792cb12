"""The label files of AffectNet, FER+ and RAF-DB."""

from pathlib import Path

import numpy as np
import pytest

from fer_ray.errors import UserError
from fer_ray.evaluation.protocols.splits import official_part
from fer_ray.settings.extraction import Selection
from fer_ray.sources.datasets.listing import Listing, list_source
from tests.sources.test_photographs import touch
from tests.sources.test_published import VOTES, fer2013, kinds, labels

ALL = Selection(frames="all")
TABLE = (
    "subDirectory_filePath,face_x,face_y,face_width,face_height,facial_landmarks,expression,valence,"
    "arousal\n"
)


def row(path: str, expression: object) -> str:
    return f'{path},0,0,9,9,"1;2;3;4",{expression},0.1,-0.2\n'


def emotions(listing: Listing) -> dict[str, str | None]:
    return {path: emotion for path, (emotion, _) in labels(listing).items()}


def affectnet(root: Path, folder: str = "") -> Path:
    """Draw the original distribution, whose numbered folders have no meaning."""
    touch(root, "1/a.jpg", "2/b.jpg", "3/c.jpg", "4/d.jpg", "5/e.jpg")
    (root / folder).mkdir(exist_ok=True)
    rows = row("1/a.jpg", 6), row("2/b.jpg", 0), row("3/c.jpg", 9), row("9/gone.jpg", 1)
    (root / folder / "training.csv").write_text(TABLE + "".join(rows))
    (root / folder / "validation.csv").write_text(row("4/d.jpg", 1))  # without a header
    return root


@pytest.mark.parametrize("folder", ["", "Manually_Annotated_file_lists"])
@pytest.mark.parametrize("dataset", [None, "affectnet"])
def test_affectnet_tables(tmp_path: Path, folder: str, dataset: str | None) -> None:
    affectnet(tmp_path, folder)
    listing = list_source(tmp_path, Selection(frames="all", dataset=dataset))
    assert listing.summary["dataset"] == "affectnet"
    assert emotions(listing) == {
        "1/a.jpg": "anger", "2/b.jpg": "neutral", "3/c.jpg": None, "4/d.jpg": "happy",
        "5/e.jpg": None,
    }  # fmt: skip
    assert kinds(listing) == {"other_class": 1, "unknown_path": 1, "unlisted_image": 1}
    parts = {row["path"]: official_part(row["image_id"]) for row in listing.table.to_pylist()}
    assert parts == {
        "1/a.jpg": "train", "2/b.jpg": "train", "3/c.jpg": "train", "4/d.jpg": "validation",
        "5/e.jpg": None,
    }  # fmt: skip


def test_one_affectnet_table(tmp_path: Path) -> None:
    for selection in (ALL, Selection(frames="all", dataset="affectnet")):
        listing = list_source(affectnet(tmp_path) / "validation.csv", selection)
        assert emotions(listing) == {"4/d.jpg": "happy"}
        assert listing.summary["dataset"] == "affectnet"


def test_irregular_rows_of_affectnet(tmp_path: Path) -> None:
    affectnet(tmp_path)
    with (tmp_path / "validation.csv").open("a") as file:
        file.write(row("4/d.jpg", 2) + row("5/e.jpg", "") + row("2/b.jpg", 3) + "5/e.jpg,1\n")
        file.write(row("5/f.jpg", 17))
    touch(tmp_path, "5/f.jpg")
    counts = kinds(list_source(tmp_path, ALL))
    assert counts == {
        "duplicate_path": 2, "no_label": 1, "unparsed_line": 1, "invalid_label": 1,
        "other_class": 1, "unknown_path": 1,
    }  # fmt: skip


def test_numbered_folders_are_not_codes_of_affectnet(tmp_path: Path) -> None:
    touch(tmp_path, "1/a.jpg", "2/b.jpg")
    with pytest.raises(UserError, match=r"AffectNet needs .*training\.csv"):
        list_source(tmp_path, Selection(dataset="affectnet"))
    named = list_source(tmp_path, Selection(dataset="affectnet", label_codes="affectnet"))
    assert emotions(named) == {"1/a.jpg": "happy", "2/b.jpg": "sadness"}


@pytest.mark.parametrize("damage", ["empty", "cut", "pickle", "text", "several", "header"])
def test_damaged_annotation(tmp_path: Path, damage: str) -> None:
    touch(tmp_path, "train_set/images/1.jpg", "train_set/images/2.jpg")
    folder = tmp_path / "train_set/annotations"
    folder.mkdir()
    np.save(folder / "1_exp.npy", "1")
    np.save(folder / "2_exp.npy", np.arange(2) if damage == "several" else np.array("2"))
    content = (folder / "2_exp.npy").read_bytes()
    contents = {
        "empty": b"", "cut": content[:-2], "text": b"not found", "several": content,
        "pickle": b"\x80\x04K\x01.", "header": content[:12] + b"((" + content[14:],
    }  # fmt: skip
    (folder / "2_exp.npy").write_bytes(contents[damage])
    listing = list_source(tmp_path, ALL)
    assert emotions(listing)["train_set/images/1.jpg"] == "happy"
    [record] = listing.summary["quality"]
    assert (record["kind"], record["count"]) == ("unreadable_label", 1)
    assert record["examples"] == ["train_set/images/2.jpg: its annotation is damaged"]
    assert record["meaning"].endswith("restore them")


@pytest.mark.parametrize("separator", [" ", "\t", "   ", " \t "])
def test_separators_of_the_list_of_rafdb(tmp_path: Path, separator: str) -> None:
    touch(tmp_path, "Image/train_00001_aligned.jpg", "Image/test_0001_aligned.jpg", "other.jpg")
    touch(tmp_path, "original/train_00001.jpg")
    lines = f"train_00001.jpg{separator}4 \r\n\ntest_0001.jpg{separator}9\ntest_0002.jpg\n"
    (tmp_path / "list_patition_label.txt").write_text(lines)
    listing = list_source(tmp_path, ALL)
    assert emotions(listing) == {
        "Image/train_00001_aligned.jpg": "happy", "Image/test_0001_aligned.jpg": None,
        "other.jpg": None,
    }  # fmt: skip
    assert kinds(listing) == {"unparsed_line": 1, "invalid_label": 1, "unlisted_image": 1}
    meanings = {record["kind"]: record["meaning"] for record in listing.summary["quality"]}
    assert "neither a code of RAF-DB (1 to 7) nor a known emotion" in meanings["invalid_label"]


@pytest.mark.parametrize("parent", ["", "data/"])
def test_lists_of_ferplus(tmp_path: Path, parent: str) -> None:
    folders = [f"{parent}FER2013{part}" for part in ("Train", "Valid", "Test")]
    touch(tmp_path, *(f"{folder}/fer000000{n}.png" for n, folder in enumerate(folders)))
    touch(tmp_path, f"{folders[0]}/extra.png")
    for number, folder in enumerate(folders):
        (tmp_path / folder / "label.csv").write_text(
            f'fer000000{number}.png,"(0, 0, 48, 48)",0,{9 - 4 * number},1,0,0,0,0,0,0,0\n'
        )
    with (tmp_path / folders[0] / "label.csv").open("a") as file:
        file.write('gone.png,"(0, 0, 48, 48)",9,0,0,0,0,0,0,0,0,0\nextra.png,9\n')
    listing = list_source(tmp_path, ALL)
    assert listing.summary["dataset"] == "ferplus"
    assert emotions(listing) == {
        f"{folders[0]}/fer0000000.png": "happy", f"{folders[1]}/fer0000001.png": "happy",
        f"{folders[2]}/fer0000002.png": None, f"{folders[0]}/extra.png": None,
    }  # fmt: skip
    assert kinds(listing) == {
        "no_majority": 1, "unknown_path": 1, "unparsed_line": 1, "unlisted_image": 1
    }  # fmt: skip
    parts = {official_part(row["image_id"]) for row in listing.table.to_pylist()}
    assert parts == {"train", "validation", "test"}


def test_missing_votes_of_ferplus(tmp_path: Path) -> None:
    fer2013(tmp_path / "fer2013.csv")
    with pytest.raises(UserError, match=r"fer2013new\.csv is missing.* next to the images or to"):
        list_source(tmp_path, Selection(dataset="ferplus"))


def test_different_numbers_of_rows_of_ferplus(tmp_path: Path) -> None:
    fer2013(tmp_path / "fer2013.csv")
    touch(tmp_path, "example.png")
    vote = "Training,fer0000000.png,4,0,0,1,3,2,0,0,0,0"
    (tmp_path / "fer2013new.csv").write_text(f"{VOTES}\n{vote}\n{vote}\n")
    with pytest.raises(UserError, match=r"fer2013\.csv has 4 rows, but fer2013new\.csv has 2"):
        list_source(tmp_path, Selection())


def test_table_without_votes_is_rejected(tmp_path: Path) -> None:
    touch(tmp_path, "fer0000000.png")
    (tmp_path / "fer2013new.csv").write_text(
        "Usage,Image name,neutral\nTraining,fer0000000.png,1\n"
    )
    with pytest.raises(UserError, match="it has no column happiness"):
        list_source(tmp_path, Selection())


def test_files_that_were_read_are_not_ignored(tmp_path: Path) -> None:
    fer2013(tmp_path / "fer2013.csv")
    votes = [f"Training,fer000000{n}.png,9,0,0,0,0,0,0,0,0,0\n" for n in range(4)]
    (tmp_path / "fer2013new.csv").write_text(f"{VOTES}\n{''.join(votes)}")
    (tmp_path / "notes.csv").write_text("about,these\n")
    listing = list_source(tmp_path, Selection())
    assert listing.summary["selected_by_emotion"] == {"neutral": 4}
    [record] = listing.summary["quality"]
    assert (record["kind"], record["examples"]) == ("not_an_image", ["notes.csv"])
