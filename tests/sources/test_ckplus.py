import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from fer_ray.errors import UserError
from fer_ray.settings.extraction import Selection
from fer_ray.sources.datasets.listing import Listing, list_source

PNG = b"\x89PNG is enough of a file for a listing"


def write(file: Path, content: bytes = PNG) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(content)


def tree(root: Path, images: str = "cohn-kanade-images", labels: str = "Emotion") -> Path:
    """Two subjects; S005 has a labelled sequence 001 and an unlabelled 002, S010 a labelled one."""
    for subject, session, frames in (("S005", "001", 3), ("S005", "002", 2), ("S010", "001", 2)):
        for frame in range(1, frames + 1):
            name = f"{subject}_{session}_{frame:08d}.png"
            write(root / images / subject / session / name)
    label(root / labels, "S005", "001", 3, "   3.0000000e+00\n")
    label(root / labels, "S010", "001", 2, "   7.0000000e+00\n")
    (root / labels / "S005" / "002").mkdir()
    return root


def label(root: Path, subject: str, session: str, frame: int, text: str) -> None:
    name = f"{subject}_{session}_{frame:08d}_emotion.txt"
    write(root / subject / session / name, text.encode())


def kinds(listing: Listing) -> dict[str, int]:
    return {record["kind"]: record["count"] for record in listing.summary["quality"]}


@pytest.mark.parametrize(
    ("images", "labels"),
    [
        ("cohn-kanade-images", "Emotion"),
        ("source_images", "source_emotion"),
        ("extended-cohn-kanade-images/cohn-kanade-images", "Emotion_labels/Emotion"),
        ("CK+/extended-cohn-kanade-images/cohn-kanade-images", "CK+/Emotion_labels/Emotion"),
        ("extended-cohn-kanade-images", "Emotion_labels"),
    ],
)
def test_all_root_names_are_found(tmp_path: Path, images: str, labels: str) -> None:
    listing = list_source(tree(tmp_path, images, labels), Selection())
    assert listing.summary["layout"] == "ckplus"
    rows = {row["image_id"]: row for row in listing.table.to_pylist()}
    assert rows.pop("S005_001_00000003") == {
        "image_id": "S005_001_00000003",
        "path": f"{images}/S005/001/S005_001_00000003.png",
        "subject": "S005",
        "session": "001",
        "frame": 3,
        "role": "peak",
        "emotion": "disgust",
        "label": 3,
        "attributes": None,
    }
    assert [(row["role"], row["emotion"]) for row in rows.values()] == [
        ("neutral", "neutral"),
        ("neutral", "neutral"),
        ("peak", "surprise"),
    ]


def flatten(folder: Path) -> None:
    """Move all files below a folder into it."""
    for file in [path for path in folder.rglob("*") if path.is_file()]:
        file.rename(folder / file.name)


def flatten_subjects(root: Path) -> None:
    for subject in (root / "cohn-kanade-images").iterdir():
        flatten(subject)


def labels_next_to_images(root: Path) -> None:
    for file in [*(root / "Emotion").rglob("*.txt")]:
        file.rename(root / "cohn-kanade-images" / file.relative_to(root / "Emotion"))
    shutil.rmtree(root / "Emotion")


@pytest.mark.parametrize(
    "change",
    [
        lambda root: (root / "cohn-kanade-images").rename(root / "CK images (1)"),
        lambda root: (root / "Emotion").rename(root / "labels"),
        lambda root: flatten(root / "Emotion"),
        flatten_subjects,
        lambda root: flatten(root / "cohn-kanade-images"),
        labels_next_to_images,
    ],
)
def test_rearranged_files_give_the_same_labels(
    tmp_path: Path, change: Callable[[Path], Any]
) -> None:
    expected = list_source(tree(tmp_path), Selection()).table.drop(["path"])
    change(tmp_path)
    assert list_source(tmp_path, Selection()).table.drop(["path"]).equals(expected)


def test_folders_of_emotions_within_subjects_are_labels(tmp_path: Path) -> None:
    for name in ("S01/happy/1.png", "S01/sad/1.png", "S02/happy/1.png"):
        write(tmp_path / name)
    summary = list_source(tmp_path, Selection()).summary
    assert (summary["layout"], summary["selected_by_emotion"]) == (
        "folders",
        {"happy": 2, "sadness": 1},
    )


def test_image_folder_alone_is_accepted(tmp_path: Path) -> None:
    listing = list_source(tree(tmp_path) / "cohn-kanade-images", Selection())
    assert listing.table.num_rows == 4


def test_selected_frames(tmp_path: Path) -> None:
    tree(tmp_path)
    label(tmp_path / "Emotion", "S005", "002", 2, "1.0")
    selected = {
        frames: list_source(tmp_path, Selection(frames=frames)).table.num_rows
        for frames in ("study", "first-and-peak", "all")
    }
    assert selected == {"study": 3 + 2, "first-and-peak": 6, "all": 7}


def test_neutral_frame_depends_on_seed(tmp_path: Path) -> None:
    for session in range(1, 9):
        for frame in (1, 2):
            name = f"S005_{session:03d}_{frame:08d}.png"
            write(tmp_path / "source_images" / "S005" / f"{session:03d}" / name)
        label(tmp_path / "source_emotion", "S005", f"{session:03d}", 2, "5")

    def neutral(seed: int) -> str:
        table = list_source(tmp_path, Selection(neutral_seed=seed)).table
        return next(row["image_id"] for row in table.to_pylist() if row["role"] == "neutral")

    assert neutral(123) == neutral(123)
    assert len({neutral(seed) for seed in range(12)}) > 1


def junk(root: Path) -> None:
    for name in (".DS_Store", "._S005_001_00000001.png", "Thumbs.db"):
        write(root / "cohn-kanade-images" / "S005" / "001" / name)
    write(root / "__MACOSX" / "cohn-kanade-images" / "._S005")


def upper_case(root: Path) -> None:
    folder = root / "cohn-kanade-images" / "S010" / "001"
    (folder / "S010_001_00000002.png").rename(folder / "S010_001_00000002.PNG")


def unpadded(root: Path) -> None:
    folder = root / "cohn-kanade-images" / "S005" / "001"
    for number in (9, 10):
        write(folder / f"S005_001_{number}.png")


def other_annotations(root: Path) -> None:
    for kind in ("facs", "landmarks"):
        write(root / f"Emotion/S010/001/S010_001_00000002_{kind}.txt", b"   4.0 1.0")


IRREGULARITIES: dict[str, tuple[Callable[[Path], Any], dict[str, int]]] = {
    "junk files": (junk, {"junk_file": 4}),
    "upper case extensions": (upper_case, {}),
    "frame gap in numeric order": (
        unpadded,
        {"frame_gap": 1, "label_not_last_frame": 1},
    ),
    "label without a class": (
        lambda root: label(root / "Emotion", "S010", "001", 2, "9"),
        {"invalid_label": 1},
    ),
    "label of words": (
        lambda root: label(root / "Emotion", "S010", "001", 2, "happy?"),
        {"invalid_label": 1},
    ),
    "empty label": (
        lambda root: label(root / "Emotion", "S010", "001", 2, ""),
        {"empty_label_file": 1},
    ),
    "label of another frame": (
        lambda root: (root / "Emotion/S010/001/S010_001_00000002_emotion.txt").rename(
            root / "Emotion/S010/001/S010_001_00000001_emotion.txt"
        ),
        {"label_not_last_frame": 1},
    ),
    "no label folder": (
        lambda root: (root / "Emotion/S005/002").rmdir(),
        {"no_label_folder": 1, "empty_label_folder": -1},
    ),
    "label without images": (
        lambda root: label(root / "Emotion", "S999", "001", 1, "1"),
        {"no_images": 1},
    ),
    "sequence without images": (
        lambda root: (root / "cohn-kanade-images/S011/001").mkdir(parents=True),
        {"no_images": 1},
    ),
    "session gap": (
        lambda root: write(root / "cohn-kanade-images/S010/005/S010_005_00000001.png"),
        {"session_gap": 1, "single_frame": 1, "no_label_folder": 1},
    ),
    "duplicate frame number": (
        lambda root: write(root / "cohn-kanade-images/S010/001/S011_001_00000001.jpg"),
        {"duplicate_frame": 1},
    ),
    "name without a number": (
        lambda root: write(root / "cohn-kanade-images/S010/001/cover.png"),
        {"misnamed_image": 1},
    ),
    "image outside the sequences": (
        lambda root: write(root / "cohn-kanade-images/S010/cover.png"),
        {"misplaced_image": 1},
    ),
    "folder in a sequence": (
        lambda root: write(root / "cohn-kanade-images/S010/001/old/S010_001_00000001.png"),
        {"folder_in_sequence": 1},
    ),
    "notes next to the label": (
        lambda root: write(root / "Emotion/S010/001/notes.txt"),
        {},
    ),
    "all archives in one folder": (other_annotations, {}),
    "folder of a subject in lower case": (
        lambda root: (root / "Emotion/S010").rename(root / "Emotion/s010"),
        {},
    ),
    "two folders of a subject": (
        lambda root: write(root / "cohn-kanade-images/s010/1/s010_001_00000001.png"),
        {"duplicate_frame": 1},
    ),
    "label in UTF-16": (
        lambda root: write(
            root / "Emotion/S010/001/S010_001_00000002_emotion.txt", "  7.0".encode("utf-16")
        ),
        {},
    ),
    "notes next to the images": (
        lambda root: write(root / "cohn-kanade-images/S010/001/notes.txt"),
        {"not_an_image": 1},
    ),
}


@pytest.mark.parametrize("name", IRREGULARITIES)
def test_irregularities_are_counted(tmp_path: Path, name: str) -> None:
    make, expected = IRREGULARITIES[name]
    tree(tmp_path)
    make(tmp_path)
    listing = list_source(tmp_path, Selection(frames="all"))
    counted = kinds(listing)
    assert counted.pop("empty_label_folder", 0) == 1 + expected.get("empty_label_folder", 0)
    assert counted == {kind: n for kind, n in expected.items() if n > 0}
    assert all(record["examples"] for record in listing.summary["quality"])
    assert "S005_001_00000001" in listing.table["image_id"].to_pylist()


def test_peak_has_the_highest_frame_number(tmp_path: Path) -> None:
    tree(tmp_path)
    unpadded(tmp_path)
    rows = list_source(tmp_path, Selection()).table.to_pylist()
    assert [row["frame"] for row in rows if row["emotion"] == "disgust"] == [10]


def test_invalid_label_means_unlabelled(tmp_path: Path) -> None:
    tree(tmp_path)
    label(tmp_path / "Emotion", "S010", "001", 2, "9")
    assert list_source(tmp_path, Selection()).summary["selected_by_emotion"] == {
        "neutral": 1,
        "disgust": 1,
    }


def test_empty_source_is_explained(tmp_path: Path) -> None:
    (tmp_path / "holiday").mkdir()
    write(tmp_path / "notes.txt")
    message = r"(?s){}.*cohn-kanade-images.*labels.csv.*emotions.*folders holiday.*files 1 × .txt"
    with pytest.raises(UserError, match=message.format(r"does not have the CK\+ layout")):
        list_source(tmp_path, Selection(layout="ckplus"))
    with pytest.raises(UserError, match=message.format("0 images found")):
        list_source(tmp_path, Selection())
    with pytest.raises(UserError, match="nowhere does not exist"):
        list_source(tmp_path / "nowhere", Selection())


def test_invalid_labels_are_reported(tmp_path: Path) -> None:
    tree(tmp_path)
    label(tmp_path / "Emotion", "S005", "001", 3, "9")
    label(tmp_path / "Emotion", "S010", "001", 2, "glad")
    with pytest.raises(
        UserError, match=r"(?s)no sequence has a valid label.*2 labels that are neither a code"
    ):
        list_source(tmp_path, Selection())


def test_undecodable_name_is_skipped(tmp_path: Path) -> None:
    tree(tmp_path)
    folder = bytes(tmp_path / "cohn-kanade-images/S010/001")
    for name in (b"S010_001_00000003_\xe9.png", b"caf\xe9.txt"):
        with open(folder + b"/" + name, "wb") as file:  # noqa: PTH123 (a path of bytes)
            file.write(PNG)
    listing = list_source(tmp_path, Selection(frames="all"))
    assert listing.table.num_rows == 7
    by_kind = {record["kind"]: record for record in listing.summary["quality"]}
    record = by_kind["undecodable_name"]
    assert (record["count"], record["examples"][0]) == (2, r"001/S010_001_00000003_\xe9.png")


def test_timestamp_is_not_a_frame_number(tmp_path: Path) -> None:
    write(tree(tmp_path) / "cohn-kanade-images/S010/001/IMG_20231101123456.png")
    assert kinds(list_source(tmp_path, Selection()))["misnamed_image"] == 1


def test_unlistable_folder_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tree(tmp_path)
    scandir = os.scandir

    def refuse(folder: Path) -> Any:  # root may list every folder, so permissions have no effect
        if Path(folder).parts[-2:] == ("S010", "001"):
            raise PermissionError(13, "Permission denied", str(folder))
        return scandir(folder)

    monkeypatch.setattr(os, "scandir", refuse)
    with pytest.raises(UserError, match="001 cannot be listed: Permission denied"):
        list_source(tmp_path, Selection())


def test_missing_labels_are_reported(tmp_path: Path) -> None:
    shutil.rmtree(tree(tmp_path) / "Emotion")
    with pytest.raises(UserError, match=r"label folder \(Emotion/\)"):
        list_source(tmp_path, Selection())
    assert list_source(tmp_path, Selection(frames="all")).table.num_rows == 7
