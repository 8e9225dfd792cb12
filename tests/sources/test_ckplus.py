import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from fer_ray.errors import UserError
from fer_ray.settings.extraction import Selection
from fer_ray.sources.listing import Listing, list_source

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
    return {oddity["kind"]: oddity["count"] for oddity in listing.summary["quality"]}


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
def test_every_spelling_of_the_roots_is_found(tmp_path: Path, images: str, labels: str) -> None:
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
    }
    assert [(row["role"], row["emotion"]) for row in rows.values()] == [
        ("neutral", "neutral"),
        ("neutral", "neutral"),
        ("peak", "surprise"),
    ]


def test_the_image_folder_alone_may_be_named(tmp_path: Path) -> None:
    listing = list_source(tree(tmp_path) / "cohn-kanade-images", Selection())
    assert listing.table.num_rows == 4


def test_selections_take_the_frames_they_name(tmp_path: Path) -> None:
    tree(tmp_path)
    label(tmp_path / "Emotion", "S005", "002", 2, "1.0")
    chosen = {
        frames: list_source(tmp_path, Selection(frames=frames)).table.num_rows
        for frames in ("study", "first-and-peak", "all")
    }
    assert chosen == {"study": 3 + 2, "first-and-peak": 6, "all": 7}


def test_the_neutral_frame_of_a_subject_follows_the_seed_alone(tmp_path: Path) -> None:
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


QUIRKS: dict[str, tuple[Callable[[Path], Any], dict[str, int]]] = {
    "files of systems": (junk, {"junk_file": 4}),
    "upper case endings": (upper_case, {}),
    "frames that skip and sort as numbers": (
        unpadded,
        {"frame_gap": 1, "label_not_last_frame": 1},
    ),
    "a label of no class": (
        lambda root: label(root / "Emotion", "S010", "001", 2, "9"),
        {"invalid_label": 1},
    ),
    "a label of words": (
        lambda root: label(root / "Emotion", "S010", "001", 2, "happy?"),
        {"invalid_label": 1},
    ),
    "an empty label": (
        lambda root: label(root / "Emotion", "S010", "001", 2, ""),
        {"invalid_label": 1},
    ),
    "a label named after another frame": (
        lambda root: (root / "Emotion/S010/001/S010_001_00000002_emotion.txt").rename(
            root / "Emotion/S010/001/S010_001_00000001_emotion.txt"
        ),
        {"label_not_last_frame": 1},
    ),
    "no label folder": (
        lambda root: (root / "Emotion/S005/002").rmdir(),
        {"no_label_folder": 1, "empty_label_folder": -1},
    ),
    "a label without images": (
        lambda root: label(root / "Emotion", "S999", "001", 1, "1"),
        {"no_images": 1},
    ),
    "a sequence without images": (
        lambda root: (root / "cohn-kanade-images/S011/001").mkdir(parents=True),
        {"no_images": 1},
    ),
    "sessions that skip": (
        lambda root: write(root / "cohn-kanade-images/S010/005/S010_005_00000001.png"),
        {"session_gap": 1, "single_frame": 1, "no_label_folder": 1},
    ),
    "a name that disagrees": (
        lambda root: write(root / "cohn-kanade-images/S010/001/S011_001_00000001.jpg"),
        {"duplicate_frame": 1},
    ),
    "a name without a number": (
        lambda root: write(root / "cohn-kanade-images/S010/001/cover.png"),
        {"misnamed_image": 1},
    ),
    "notes beside the images": (
        lambda root: write(root / "cohn-kanade-images/S010/001/notes.txt"),
        {"not_an_image": 1},
    ),
}


@pytest.mark.parametrize("name", QUIRKS)
def test_a_quirk_is_counted_and_survived(tmp_path: Path, name: str) -> None:
    make, expected = QUIRKS[name]
    tree(tmp_path)
    make(tmp_path)
    listing = list_source(tmp_path, Selection(frames="all"))
    counted = kinds(listing)
    assert counted.pop("empty_label_folder", 0) == 1 + expected.get("empty_label_folder", 0)
    assert counted == {kind: n for kind, n in expected.items() if n > 0}
    assert all(oddity["examples"] for oddity in listing.summary["quality"])
    assert "S005_001_00000001" in listing.table["image_id"].to_pylist()


def test_the_peak_is_the_frame_of_the_highest_number(tmp_path: Path) -> None:
    tree(tmp_path)
    unpadded(tmp_path)
    rows = list_source(tmp_path, Selection()).table.to_pylist()
    assert [row["frame"] for row in rows if row["emotion"] == "disgust"] == [10]


def test_a_label_of_no_class_leaves_the_sequence_unlabelled(tmp_path: Path) -> None:
    tree(tmp_path)
    label(tmp_path / "Emotion", "S010", "001", 2, "9")
    assert list_source(tmp_path, Selection()).summary["selected_by_emotion"] == {
        "neutral": 1,
        "disgust": 1,
    }


def test_an_empty_or_wrong_folder_is_told_what_was_looked_for(tmp_path: Path) -> None:
    (tmp_path / "holiday").mkdir()
    write(tmp_path / "notes.txt")
    told = r"(?s){}.*cohn-kanade-images.*labels.csv.*emotions.*folders holiday.*files 1 × .txt"
    with pytest.raises(UserError, match=told.format("is no CK+ tree".replace("+", r"\+"))):
        list_source(tmp_path, Selection(layout="ckplus"))
    with pytest.raises(UserError, match=told.format("0 images found")):
        list_source(tmp_path, Selection())
    with pytest.raises(UserError, match="There is no"):
        list_source(tmp_path / "nowhere", Selection())


def test_labels_that_are_all_no_code_are_told_of(tmp_path: Path) -> None:
    tree(tmp_path)
    label(tmp_path / "Emotion", "S005", "001", 3, "9")
    label(tmp_path / "Emotion", "S010", "001", 2, "glad")
    with pytest.raises(
        UserError, match=r"(?s)none has a label that can.*2 labels that are no code"
    ):
        list_source(tmp_path, Selection())


def test_a_name_that_is_no_utf8_is_counted_and_left_out(tmp_path: Path) -> None:
    tree(tmp_path)
    folder = bytes(tmp_path / "cohn-kanade-images/S010/001")
    for name in (b"S010_001_00000003_\xe9.png", b"caf\xe9.txt"):
        with open(folder + b"/" + name, "wb") as file:  # noqa: PTH123 (a path of bytes)
            file.write(PNG)
    listing = list_source(tmp_path, Selection(frames="all"))
    assert listing.table.num_rows == 7
    found = {one["kind"]: one for one in listing.summary["quality"]}["undecodable_name"]
    assert (found["count"], found["examples"][0]) == (2, r"001/S010_001_00000003_\xe9.png")


def test_a_number_too_large_for_a_frame_is_taken_for_a_misnamed_image(tmp_path: Path) -> None:
    write(tree(tmp_path) / "cohn-kanade-images/S010/001/IMG_20231101123456.png")
    assert kinds(list_source(tmp_path, Selection()))["misnamed_image"] == 1


def test_a_folder_that_cannot_be_listed_is_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tree(tmp_path)
    scandir = os.scandir

    def refuse(folder: Path) -> Any:  # root may list every folder, so rights cannot be taken away
        if Path(folder).parts[-2:] == ("S010", "001"):
            raise PermissionError(13, "Permission denied", str(folder))
        return scandir(folder)

    monkeypatch.setattr(os, "scandir", refuse)
    with pytest.raises(UserError, match="001 cannot be listed: Permission denied"):
        list_source(tmp_path, Selection())


def test_images_without_any_label_are_told_of(tmp_path: Path) -> None:
    tree(tmp_path, labels="Labels")
    with pytest.raises(UserError, match=r"label folder \(Emotion/\)"):
        list_source(tmp_path, Selection())
    assert list_source(tmp_path, Selection(frames="all")).table.num_rows == 7
