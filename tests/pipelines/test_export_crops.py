"""Export of crops: exact pixels, in the target folder only."""

from pathlib import Path

import cv2
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from fer_ray.errors import UserError
from fer_ray.faces.loaded_models import load_reader
from fer_ray.features import steps
from fer_ray.pipelines.extraction.export_crops import crop_name, export_crops
from fer_ray.settings.root import Settings
from fer_ray.sources.decoding import decode_file

FAST = Settings(profile="fast").extract


@pytest.fixture
def photos(corpus: Path, tmp_path: Path) -> Path:
    """A large photograph."""
    root = tmp_path / "photos"
    root.mkdir()
    face = cv2.imread(str(min(corpus.glob("cohn-kanade-images/*/*/*.png"))), cv2.IMREAD_GRAYSCALE)
    cv2.imwrite(str(root / "large.jpg"), cv2.resize(face, None, fx=3.3, fy=3.3))
    return root


@pytest.fixture
def cropped(photos: Path) -> pa.Table:
    """Its row, with the crop."""
    image = decode_file(photos / "large.jpg", FAST.decode)
    table = steps.read_faces([image], load_reader(FAST.crop, FAST.landmarks), "one")
    table = table.append_column("path", pa.array(["large.jpg"]))
    return table.append_column("image_id", table["path"])


def written(table: pa.Table, out: Path, emotion: str | None) -> Path:
    """Write a frames table with the rows."""
    frames = out / "frames"
    frames.mkdir(parents=True)
    rows = table.select(["image_id", "path", "sha256", "box_xywh", "crop_angle", "detector"])
    rows = rows.append_column("emotion", pa.array([emotion] * len(rows), pa.string()))
    pq.write_table(rows, frames / "part-00000.parquet")
    return frames


def test_crop_of_a_reduced_photograph(photos: Path, cropped: pa.Table, tmp_path: Path) -> None:
    assert decode_file(photos / "large.jpg", FAST.decode).reduction == 2
    frames, target = written(cropped, tmp_path / "run", None), tmp_path / "crops"
    assert export_crops(frames, photos, target, FAST.decode, FAST.crop.size_px) == 1
    [crop] = target.glob("unlabelled/*.png")
    expected = steps.pixels(cropped[steps.CROP], FAST.crop.size_px)[0]
    np.testing.assert_array_equal(cv2.imread(str(crop), cv2.IMREAD_UNCHANGED), expected)


@pytest.mark.parametrize("emotion", ["../../out", "/etc/x", "joyful"])
def test_foreign_rows_are_refused(
    photos: Path, cropped: pa.Table, tmp_path: Path, emotion: str
) -> None:
    frames = written(cropped, tmp_path / "run", emotion)
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(UserError, match="does not come from an extraction"):
        export_crops(frames, photos, tmp_path / "crops", FAST.decode, FAST.crop.size_px)
    assert sorted(tmp_path.rglob("*")) == before


def test_changed_image_is_refused(photos: Path, cropped: pa.Table, tmp_path: Path) -> None:
    frames = written(cropped, tmp_path / "run", None)
    cv2.imwrite(str(photos / "large.jpg"), np.full((300, 300), 128, np.uint8))
    with pytest.raises(UserError, match="its content has changed"):
        export_crops(frames, photos, tmp_path / "crops", FAST.decode, FAST.crop.size_px)


def test_full_disk_is_named(
    photos: Path, cropped: pa.Table, tmp_path: Path, small_disk: Path
) -> None:
    frames = written(cropped, tmp_path / "run", None)
    (small_disk / "filler").write_bytes(bytes((8 << 20) - (32 << 10)))
    target = small_disk / "crops"
    with pytest.raises(UserError, match=rf"to {target}: No space left on device\. Fix"):
        export_crops(frames, photos, target, FAST.decode, FAST.crop.size_px)
    assert not target.exists()


def test_names_are_short_and_differ(photos: Path, cropped: pa.Table, tmp_path: Path) -> None:
    ids = ["x/y.jpg", "x__y.jpg", "x_/y.jpg", "x/_y.jpg", "é" * 125 + ".jpg", "/".join("ab" * 99)]
    table = pa.concat_tables([cropped] * len(ids)).drop_columns("image_id")
    table = table.append_column("image_id", pa.array(ids))
    frames, target = written(table, tmp_path / "run", None), tmp_path / "crops"
    assert export_crops(frames, photos, target, FAST.decode, FAST.crop.size_px) == len(ids)
    assert len(list(target.glob("unlabelled/*.png"))) == len(ids)
    assert (target / "unlabelled" / "x__y.jpg.png").is_file()
    assert len({crop_name(name) for name in ids}) == len(ids)
