from pathlib import Path

import pytest

from fer_ray.errors import UserError
from fer_ray.settings.extraction import Selection
from fer_ray.sources.datasets.listing import list_source
from fer_ray.sources.emotion_words import parse_emotion
from fer_ray.sources.labels import FolderLabels
from fer_ray.sources.quality import Quality
from fer_ray.sources.streams.image_source import open_source
from fer_ray.sources.streams.stream_labels import find_labels


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
    counts = {issue["kind"]: issue["count"] for issue in listing.summary["quality"]}
    assert counts == {
        "invalid_label": 1, "path_outside": 2, "conflicting_rows": 1, "missing_path": 1,
        "no_label": 1, "missing_file": 3,
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
        counts = {record["kind"]: record["count"] for record in listing.summary["quality"]}
        assert counts == {"path_outside": 4, "missing_file": 1}


def test_csv_without_columns_is_rejected(tmp_path: Path) -> None:
    (tmp_path / "labels.csv").write_text("name,mood\na.jpg,happy\n")
    with pytest.raises(UserError, match=r"no column path or file.*header has: name, mood"):
        list_source(tmp_path, Selection())


@pytest.mark.parametrize("header", ["path,emotion,emotion", "path,Emotion,emotion"])
def test_csv_with_two_label_columns_is_rejected(tmp_path: Path, header: str) -> None:
    (tmp_path / "labels.csv").write_text(f"{header}\na.jpg,happy,sad\n")
    with pytest.raises(UserError, match=r"has 2 columns .motion and emotion\. Rename"):
        list_source(tmp_path, Selection())


@pytest.mark.parametrize("header", ["path,emotion,Age,age,site", "path,emotion,age,age,site"])
def test_further_columns_of_equal_names_are_reported(tmp_path: Path, header: str) -> None:
    touch(tmp_path, "a.jpg")
    (tmp_path / "labels.csv").write_text(f"{header}\na.jpg,happy,30,31,Ulm\n")
    listing = list_source(tmp_path, Selection())
    assert listing.table["attributes"].to_pylist() == [[("site", "Ulm")]]
    (issue,) = listing.summary["quality"]
    assert (issue["kind"], issue["count"]) == ("same_column", 2)
    assert issue["examples"][0].endswith(": Age and age" if "Age" in header else ": age and age")


def test_link_loop_ends(tmp_path: Path) -> None:
    touch(tmp_path, "happy/a.jpg")
    (tmp_path / "happy" / "again").symlink_to(tmp_path)
    assert list_source(tmp_path, Selection()).table["path"].to_pylist() == ["happy/a.jpg"]


@pytest.mark.parametrize(
    ("folder", "emotion"),
    [
        ("01_fear", "fear"), ("Anger (1)", "anger"), ("neutrality", "neutral"),
        ("Joyful", "happy"), ("happy - Copy", "happy"), ("sad faces", "sadness"),
        ("suprise", None), ("happily surprised", None), ("sad-happy", None), ("Peter", None),
        ("7", None),
    ],
)  # fmt: skip
def test_plain_folder_names_are_read(folder: str, emotion: str | None) -> None:
    assert FolderLabels()(f"train/{folder}/a.jpg").emotion == emotion


def test_folder_names_are_reported(tmp_path: Path) -> None:
    touch(tmp_path, "Joyful/a.jpg", "Joyful/b.jpg", "Anger (1)/c.jpg", "suprise/d.jpg", "x/e.jpg")
    listing = list_source(tmp_path, Selection())
    assert listing.summary["class_folders"] == [
        {"folder": "Joyful", "emotion": "happy", "images": 2},
        {"folder": "Anger (1)", "emotion": "anger", "images": 1},
    ]
    examples = {record["kind"]: record["examples"] for record in listing.summary["quality"]}
    assert examples == {
        "no_emotion_folder": ["suprise/", "x/"],
        "near_emotion_folder": ["suprise/: surprise?"],
    }


def test_numbered_folders_need_codes(tmp_path: Path) -> None:
    touch(tmp_path, "train/4/a.jpg", "train/1/b.jpg")
    assert list_source(tmp_path, Selection()).summary["layout"] == "images"
    listing = list_source(tmp_path, Selection(label_codes="rafdb"))
    assert listing.table["emotion"].to_pylist() == ["surprise", "happy"]


def test_person_named_like_an_emotion_is_no_class(tmp_path: Path) -> None:
    touch(tmp_path, "Joy/a.jpg", "Peter/b.jpg", "Anna/c.jpg")
    listing = list_source(tmp_path, Selection())
    assert (listing.summary["layout"], listing.table.num_rows) == ("images", 3)
    [record] = listing.summary["quality"]
    assert (record["kind"], record["count"], record["examples"]) == ("single_class", 1, ["Joy/"])
    forced = list_source(tmp_path, Selection(layout="folders"))
    assert forced.table["emotion"].to_pylist() == ["happy"]


def test_single_class_alone_is_a_class(tmp_path: Path) -> None:
    touch(tmp_path, "happy/a.jpg", "happy/b.jpg")
    assert list_source(tmp_path, Selection()).summary["layout"] == "folders"


def test_labels_file_about_something_else(tmp_path: Path) -> None:
    touch(tmp_path, "happy/a.jpg", "sad/b.jpg")
    (tmp_path / "labels.csv").write_text("id,name\n1,Ann\n")
    listing = list_source(tmp_path, Selection())
    assert listing.table["emotion"].to_pylist() == ["happy", "sadness"]
    assert "other_labels_file" in {record["kind"] for record in listing.summary["quality"]}
    with pytest.raises(UserError, match="--layout folders"):
        list_source(tmp_path, Selection(layout="csv"))


def test_broken_link_to_labels_is_an_error(tmp_path: Path) -> None:
    touch(tmp_path, "happy/a.jpg", "sad/b.jpg")
    (tmp_path / "labels.csv").symlink_to("moved.csv")
    with pytest.raises(UserError, match=r"labels\.csv is a link to moved\.csv, which does not"):
        list_source(tmp_path, Selection())
    with pytest.raises(UserError, match="Restore that file"):
        find_labels(open_source(str(tmp_path)), Quality(), Selection())
    assert list_source(tmp_path, Selection(layout="folders")).summary["layout"] == "folders"


def test_paths_in_another_spelling_are_matched(tmp_path: Path) -> None:
    composed, decomposed = "Zo\u00eb", "Zoe\u0308"
    touch(tmp_path, "a/1.jpg", f"{decomposed}/2.jpg", "b/3.JPG", "c/4.png", "d.jpg", "D.jpg")
    lines = ("a\\1.jpg", f"{composed}/2.jpg", "B/3.jpg", "c/4", "d", "gone.jpg")
    (tmp_path / "labels.csv").write_text("path,emotion\n" + "".join(f"{x},happy\n" for x in lines))
    listing = list_source(tmp_path, Selection())
    assert listing.table["path"].to_pylist() == [
        f"{decomposed}/2.jpg", "a/1.jpg", "b/3.JPG", "c/4.png", "d", "gone.jpg"
    ]  # fmt: skip
    by_kind = {record["kind"]: record for record in listing.summary["quality"]}
    assert by_kind["respelled_path"]["count"] == 4
    assert by_kind["missing_file"]["examples"] == ["d", "gone.jpg"]


def test_matched_paths_do_not_lead_out(tmp_path: Path) -> None:
    root = touch(tmp_path / "root", "in.jpg").resolve()
    touch(tmp_path / "secret", "b.jpg")
    (root / "out").symlink_to(tmp_path / "secret")
    (root / "labels.csv").write_text("path,emotion\nin.jpg,sad\nout\\b.jpg,happy\n")
    listing = list_source(root, Selection())
    assert listing.table["path"].to_pylist() == ["in.jpg", "out\\b.jpg"]


def test_labels_of_no_file_are_an_error(tmp_path: Path) -> None:
    touch(tmp_path, "images/a.jpg")
    (tmp_path / "labels.csv").write_text("path,emotion\na.jpg,happy\nb.jpg,sad\n")
    with pytest.raises(UserError, match=r"None of the 2 files .* a\.jpg, b\.jpg.*relative to"):
        list_source(tmp_path, Selection())


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
def test_other_spellings_of_label_files(tmp_path: Path, delimiter: str) -> None:
    touch(tmp_path, *(f"{name}.jpg" for name in "abcdef"))
    table = [
        ("Image Path", "Facial_Expression", "Subject ID"),
        ("a.jpg", "Happiness!", "Zo\u00eb"), ("b.jpg", " '+5' ", "Zoe\u0308"),
        ("c.jpg", "7.0", "NaT"), ("d.jpg", "N/A", "-999"), ("e.jpg", "no label", "unk"),
        ("f.jpg", "neutrall", "#N/A"),
    ]  # fmt: skip
    text = "".join(f"{delimiter.join(cells)}\r\n" for cells in table)
    for encoding in ("utf-8-sig", "utf-16"):
        preamble = f"sep={delimiter}\r\n" if encoding == "utf-16" else "\r\n"
        (tmp_path / "labels.csv").write_bytes(f"{preamble}{text}".encode(encoding))
        listing = list_source(tmp_path, Selection(frames="all"))
        rows = [(row["emotion"], row["subject"]) for row in listing.table.to_pylist()]
        assert rows == [
            ("happy", "Zo\u00eb"), ("happy", "Zo\u00eb"), ("surprise", None), (None, None),
            (None, None), (None, None),
        ]  # fmt: skip
        counts = {record["kind"]: record["count"] for record in listing.summary["quality"]}
        assert counts == {"assumed_codes": 2, "no_label": 2, "invalid_label": 1}
        examples = [one for record in listing.summary["quality"] for one in record["examples"]]
        assert any(one.endswith("'neutrall' (did you mean neutral?)") for one in examples)


def test_label_codes_of_another_data_set(tmp_path: Path) -> None:
    touch(tmp_path, "a.jpg", "b.jpg")
    (tmp_path / "labels.csv").write_text("path,label\na.jpg,4\nb.jpg,7\n")
    assumed = list_source(tmp_path, Selection())
    assert assumed.summary["selected_by_emotion"] == {"fear": 1, "surprise": 1}
    [record] = assumed.summary["quality"]
    assert record["kind"] == "assumed_codes"
    assert "0 neutral, 1 anger" in record["meaning"]
    named = list_source(tmp_path, Selection(label_codes="rafdb"))
    assert named.summary["selected_by_emotion"] == {"neutral": 1, "happy": 1}
    assert named.summary["quality"] == []


@pytest.mark.parametrize("name", ["Labels.csv", "annotations.csv", "labels.tsv"])
def test_labels_file_of_another_name_is_reported(tmp_path: Path, name: str) -> None:
    touch(tmp_path, "happy/a.jpg", "sad/b.jpg")
    (tmp_path / name).write_text("path\temotion\nhappy/a.jpg\tfear\n")
    (tmp_path / "people.csv").write_text("id,name\n1,Ann\n")
    quality = list_source(tmp_path, Selection()).summary["quality"]
    [record] = [record for record in quality if record["kind"] == "unused_labels_file"]
    assert record["examples"] == [name]


def test_similar_subjects_are_reported(tmp_path: Path) -> None:
    touch(tmp_path, "a.jpg", "b.jpg", "c.jpg")
    rows = "path,emotion,subject\na.jpg,happy,Ann\nb.jpg,sad,ann\nc.jpg,sad,Bob\n"
    (tmp_path / "labels.csv").write_text(rows)
    [record] = list_source(tmp_path, Selection()).summary["quality"]
    assert (record["kind"], record["examples"]) == ("similar_subjects", ["Ann and ann"])
