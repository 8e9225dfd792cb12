"""Labels of the sources of sweeps: in a bucket, they are those of the same folder."""

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from fer_ray.errors import UserError
from fer_ray.settings.extraction import Selection
from fer_ray.sources.labels import Label
from fer_ray.sources.quality import Quality
from fer_ray.sources.streams.image_source import open_source
from fer_ray.sources.streams.stream_labels import find_labels
from fer_ray.storage.objects.object_path import ObjectPath
from tests.object_store import local_bucket, upload
from tests.sources.test_photographs import touch
from tests.sources.test_published import VOTES

Expected = dict[str, tuple[str | None, int | None]]  # subject and class code by path


@pytest.fixture(scope="module")
def bucket() -> Iterator[ObjectPath]:
    with local_bucket() as (path, _):
        yield path


def draw_ckplus(root: Path) -> Expected:
    touch(root, *(f"cohn-kanade-images/S005/001/S005_001_0000000{n}.png" for n in (1, 2, 3)))
    label = root / "Emotion/S005/001/S005_001_00000003_emotion.txt"
    label.parent.mkdir(parents=True)
    label.write_text("   3.0000000e+00\n")
    frame = "cohn-kanade-images/S005/001/S005_001_0000000{}.png"
    return {frame.format(1): ("S005", 0), frame.format(2): ("S005", None),
            frame.format(3): ("S005", 3)}  # fmt: skip


def draw_rafdb(root: Path) -> Expected:
    touch(root, "Image/aligned/train_00001_aligned.jpg")
    (root / "EmoLabel").mkdir()
    (root / "EmoLabel/list_patition_label.txt").write_text("train_00001.jpg 5\n")
    return {"Image/aligned/train_00001_aligned.jpg": (None, 6)}


def draw_affectnet(root: Path) -> Expected:
    touch(root, "val_set/images/7.jpg")
    (root / "val_set/annotations").mkdir()
    np.save(root / "val_set/annotations/7_exp.npy", "1")
    return {"val_set/images/7.jpg": (None, 5)}


def draw_ferplus(root: Path) -> Expected:
    touch(root, "FER2013Train/fer0000000.png")
    (root / "fer2013new.csv").write_text(f"{VOTES}\nTraining,fer0000000.png,0,6,0,1,0,0,0,0,0,0\n")
    return {"FER2013Train/fer0000000.png": (None, 5)}


def draw_affectnet_table(root: Path) -> Expected:
    touch(root, "2/a.jpg")
    (root / "training.csv").write_text("subDirectory_filePath,expression\n2/a.jpg,1\n")
    return {"2/a.jpg": (None, 5)}


def draw_ferplus_list(root: Path) -> Expected:
    touch(root, "FER2013Train/fer0000000.png")
    (root / "FER2013Train/label.csv").write_text('fer0000000.png,"(0, 0)",0,6,0,1,0,0,0,0,0,0\n')
    return {"FER2013Train/fer0000000.png": (None, 5)}


def subjects_and_codes(labels: dict[str, Label] | None) -> Expected:
    assert labels is not None
    return {path: (label.subject, label.code) for path, label in labels.items()}


@pytest.mark.slow
@pytest.mark.parametrize(
    "draw",
    [
        draw_ckplus, draw_rafdb, draw_affectnet, draw_affectnet_table, draw_ferplus,
        draw_ferplus_list,
    ],
)  # fmt: skip
def test_label_files_in_folders_and_buckets(
    tmp_path: Path, bucket: ObjectPath, draw: Callable[[Path], Expected]
) -> None:
    expected = draw(tmp_path)
    copy = bucket / tmp_path.name
    upload(tmp_path, copy)
    for uri in (str(tmp_path), str(copy)):
        labels = find_labels(open_source(uri), Quality(), Selection())
        assert subjects_and_codes(labels) == expected, uri


@pytest.mark.slow
def test_uri_with_options_has_no_label_files(tmp_path: Path, bucket: ObjectPath) -> None:
    upload(touch(tmp_path, "happy/1.png"), bucket / "plain")
    source = open_source(f"{bucket}/plain?region=us-east-1")
    assert find_labels(source, Quality(), Selection()) is None
    with pytest.raises(UserError, match=r"label files of RAF-DB .* Write the URI without options"):
        find_labels(source, Quality(), Selection(dataset="rafdb"))
