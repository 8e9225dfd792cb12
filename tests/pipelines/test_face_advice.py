"""Advice for sources in which many images have no face."""

import pyarrow as pa
import pytest

from fer_ray.pipelines.extraction.face_advice import advise_on_faces, count_small_squares
from fer_ray.settings.extraction import Crop, ExtractSettings

CASCADES = ExtractSettings()
BLAZEFACE = ExtractSettings(crop=Crop(detector="blazeface"))
WHOLE = ExtractSettings(crop=Crop(faces="whole"))


@pytest.mark.parametrize(
    ("lost", "squares", "settings", "has_bundle", "option"),
    [
        (10, 0, CASCADES, False, None),
        (11, 0, CASCADES, False, "--profile mesh"),
        (11, 0, CASCADES, True, None),
        (11, 0, BLAZEFACE, False, None),
        (60, 51, CASCADES, False, "--faces whole"),
        (60, 51, BLAZEFACE, True, "--faces whole"),
        (60, 50, CASCADES, False, "--profile mesh"),
        (60, 51, WHOLE, True, None),
    ],
)
def test_advice_names_one_option(
    lost: int, squares: int, settings: ExtractSettings, has_bundle: bool, option: str | None
) -> None:
    counts = {"ok": 100 - lost, "no_face": lost - 5, "no_landmarks": 5, "unreadable": 40}
    advice = advise_on_faces(counts, squares, settings, has_bundle)
    assert len(advice) == (option is not None)
    if option:
        assert advice[0].startswith(f"{lost} of 100 images")
        assert option in advice[0]


def test_few_images_give_no_advice() -> None:
    assert advise_on_faces({"ok": 1, "no_face": 18}, 18, CASCADES, False) == []


def test_small_squares_without_a_face_are_counted() -> None:
    table = pa.table(
        {
            "status": ["no_face", "no_landmarks", "ok", "no_face", "no_face", "unreadable"],
            "width": pa.array([48, 256, 48, 257, 48, None], pa.int32()),
            "height": pa.array([48, 256, 48, 257, 64, None], pa.int32()),
        }
    )
    assert count_small_squares(table) == 2
    assert count_small_squares(table.slice(0, 0)) == 0
