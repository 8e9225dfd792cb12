from pathlib import Path

import pytest

from fer_ray.errors import UserError
from fer_ray.settings.extraction import Selection
from fer_ray.sources.datasets.listing import list_source
from fer_ray.sources.labels import parse_emotion


def touch(root: Path, *names: str) -> Path:
    for name in names:
        file = root / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(b"x")
    return root


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("happy", 5), (" Happiness ", 5), ("SAD", 6), ("surprised", 7), ("neutral", 0), ("4", 4),
        ("   3.0000000e+00", 3), ("8", None), ("-1", None), ("1.5", None), ("nan", None),
        ("", None), ("bored", None),
    ],
)  # fmt: skip
def test_emotion_by_name_synonym_or_code(text: str, code: int | None) -> None:
    assert parse_emotion(text) == code


def test_folders_named_after_emotions_are_labels(tmp_path: Path) -> None:
    touch(
        tmp_path, "train/happy/a.jpg", "test/Angry/b.PNG", "other/c.jpg", "happy.txt", ".DS_Store"
    )
    listing = list_source(tmp_path, Selection())
    assert listing.summary["layout"] == "folders"
    assert [(row["path"], row["emotion"]) for row in listing.table.to_pylist()] == [
        ("test/Angry/b.PNG", "anger"),
        ("train/happy/a.jpg", "happy"),
    ]
    assert list_source(tmp_path, Selection(frames="all")).table.num_rows == 3


def test_unlabelled_folder_is_selected_entirely(tmp_path: Path) -> None:
    touch(tmp_path, "2026/a.jpg", "2026/7/b.jpg", "notes.txt")
    listing = list_source(tmp_path, Selection())
    assert (listing.summary["layout"], listing.table.num_rows) == ("images", 2)
    assert set(listing.table["role"].to_pylist()) == {"other"}


def test_csv_of_paths_labels_and_subjects(tmp_path: Path) -> None:
    touch(tmp_path, "d/a.jpg", "d/b.jpg")
    (tmp_path / "labels.csv").write_text(
        "\ufeffPath,Emotion,Person\nd/a.jpg,happy,Ann\nd/b.jpg,neutral,\nd/c.jpg,sad,Bob\n"
        "d/a.jpg,sad,Ann\n../secret.jpg,happy,Eve\n/etc/passwd,happy,Eve\nd/e.jpg,bored,Ann\n,happy,X\n"
        "d/f.jpg,,Ann\n"
    )
    listing = list_source(tmp_path, Selection())
    rows = [(row["path"], row["label"], row["subject"]) for row in listing.table.to_pylist()]
    assert rows == [("d/a.jpg", 5, "Ann"), ("d/b.jpg", 0, None), ("d/c.jpg", 6, "Bob")]
    counts = {oddity["kind"]: oddity["count"] for oddity in listing.summary["quality"]}
    assert counts == {
        "invalid_label": 1, "path_outside": 2, "duplicate_path": 1, "missing_path": 1,
        "no_label": 1,
    }  # fmt: skip
    assert list_source(tmp_path / "labels.csv", Selection()).table.equals(listing.table)


def test_csv_links_out_of_folder_are_skipped(tmp_path: Path) -> None:
    root = tmp_path / "root"
    touch(tmp_path, "secret/b.jpg", "root/in/a.jpg")
    (root / "out").symlink_to(tmp_path / "secret")
    (root / "c.jpg").symlink_to("../secret/b.jpg")
    (root / "link").symlink_to("in")
    (root / "loop").symlink_to("loop")
    paths = (
        "in/a.jpg",
        "link/a.jpg",
        "out/b.jpg",
        "c.jpg",
        "link/../../secret/b.jpg",
        "in/\0.jpg",
        "loop/a.jpg",
    )
    lines = [f"{path},happy\n" for path in paths]
    (root / "labels.csv").write_text("path,label\n" + "".join(lines))
    linked = tmp_path / "linked"
    linked.symlink_to(root)
    for data in (root, linked):
        listing = list_source(data, Selection())
        assert listing.table["path"].to_pylist() == ["in/a.jpg", "link/a.jpg", "loop/a.jpg"]
        [outside] = listing.summary["quality"]
        assert (outside["kind"], outside["count"]) == ("path_outside", 4)


def test_csv_without_columns_is_rejected(tmp_path: Path) -> None:
    (tmp_path / "labels.csv").write_text("name,mood\na.jpg,happy\n")
    with pytest.raises(UserError, match=r"no column path or file.*header has: name, mood"):
        list_source(tmp_path, Selection())


def test_link_loop_ends(tmp_path: Path) -> None:
    touch(tmp_path, "happy/a.jpg")
    (tmp_path / "happy" / "again").symlink_to(tmp_path)
    assert list_source(tmp_path, Selection()).table["path"].to_pylist() == ["happy/a.jpg"]
