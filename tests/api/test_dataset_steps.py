"""Steps in custom pipelines: NumPy, pandas, Arrow, Polars and Ray Data."""

import ctypes
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

import fer_ray as fr
from fer_ray.api.image_rows import GivenImageSteps, process_given_images
from fer_ray.errors import UserError
from fer_ray.schemas import FACE_FIELDS, OUTCOME_FIELDS
from fer_ray.settings.extraction import Decode, ExtractSettings
from fer_ray.sources.decoding import Decoded

pytestmark = pytest.mark.slow


def test_every_kind_of_batch_gives_the_same_rows(workplace: Path) -> None:
    step = fr.FaceFeatures("fast", {"extract.features.sets": ["hog"]})
    paths, numbers = ["face.png", "wall.png"], [7, 8]
    contents = [Path(path).read_bytes() for path in paths]
    images = np.empty(2, object)
    images[:] = [cv2.imread(path)[..., ::-1] for path in paths]
    batches: list[Any] = [
        {"path": np.array(paths), "number": np.array(numbers)},
        pd.DataFrame({"path": paths, "number": numbers}),
        pa.table({"path": paths, "number": numbers}),
        pl.DataFrame({"path": paths, "number": numbers}).to_arrow(),
        pa.table({"bytes": contents, "number": numbers}),
        {"image": images, "number": numbers},
    ]
    first, *others = [step(batch) for batch in batches]
    assert first.column_names[:3] == ["path", "number", "face_index"]
    assert first["status"].to_pylist() == ["ok", "no_face"]
    assert first["features_hog"][0].is_valid
    for rows in others:
        assert {"bytes", "image"}.isdisjoint(rows.column_names)
        for name in ("number", "box_xywh", "landmarks_xy", "features_hog"):
            assert rows[name].to_pylist() == first[name].to_pylist()


def test_several_faces_repeat_the_columns_of_their_image(workplace: Path) -> None:
    face = cv2.imread("face.png", cv2.IMREAD_GRAYSCALE)
    cv2.imwrite("two.png", np.hstack([face, face]))
    rows = fr.Predict("models/photos", faces="all")({"path": ["two.png", "wall.png"]})
    assert rows["path"].to_pylist() == ["two.png", "two.png", "wall.png"]
    assert rows["face_index"].to_pylist() == [0, 1, 0]
    assert rows["predicted"][2].as_py() is None


def test_empty_and_unusable_batches(workplace: Path) -> None:
    step = fr.FaceFeatures("fast", {"extract.features.sets": ["hog"]})
    assert step({"path": []}).schema.field("features_hog").type.list_size == 1764
    rows = step({"image": np.zeros((2, 4, 5), float)})
    assert rows["status"].to_pylist() == ["unreadable"] * 2
    assert "pass uint8 pixels" in rows["error"][0].as_py()
    with pytest.raises(UserError, match="no column image or bytes or path, only photo"):
        step({"photo": ["face.png"]})


@dataclass(frozen=True)
class StepsOrCrash(GivenImageSteps):
    """Crashes its process when it reaches the image `crash`."""

    def decode_image(self, image: Any, limits: Decode) -> Decoded:
        if image == "crash":
            ctypes.string_at(0)
        if image == "bug":
            raise ZeroDivisionError("a bug")
        return super().decode_image(image, limits)


def test_child_process_isolates_a_crash(workplace: Path) -> None:
    steps, fields = StepsOrCrash(ExtractSettings()), [*FACE_FIELDS, *OUTCOME_FIELDS]
    images = ["crash", "face.png", "bug"]
    rows = process_given_images(images, steps, fields, image_seconds=60)
    assert rows["status"].to_pylist() == ["crashed", "ok", "crashed"]
    assert rows["error"][0].as_py() == "died of SIGSEGV"
    here = process_given_images(images[1:], steps, fields)
    assert here["status"].to_pylist() == ["ok", "crashed"]
    assert here["error"][1].as_py() == "ZeroDivisionError: a bug"
    assert here["stage"][1].as_py() == "decode"


def test_steps_in_ray_data(workplace: Path, local_ray: int) -> None:
    import ray

    files = [str(workplace / "dump" / name) for name in ("face.png", "wall.png")]
    faces = fr.extract_faces(ray.data.read_images(files, include_paths=True, mode="RGB"), "fast")
    rows = faces.to_pandas().sort_values("path")
    assert rows["status"].tolist() == ["ok", "no_face"]
    assert "image" not in rows.columns
    predicted = ray.data.read_binary_files(files, include_paths=True).map_batches(
        fr.Predict,
        fn_constructor_kwargs={"model": str(workplace / "models" / "photos")},
        compute=ray.data.ActorPoolStrategy(size=1),
        batch_size=8,
    )
    answers = predicted.to_pandas().sort_values("path")["predicted"]
    assert answers.iloc[0] == "surprise"
    assert pd.isna(answers.iloc[1])
