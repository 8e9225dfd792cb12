from collections.abc import Iterable
from pathlib import Path

import cv2
import numpy as np
import pyarrow as pa
import pytest

from benchmarks.naive_study import (
    find_face,
    find_landmarks,
    load_cascades,
    load_predictor,
    vectorise,
)
from fer_ray.errors import UserError
from fer_ray.execution.extract_block import extraction_schema
from fer_ray.faces.crops import FaceFinder, crop_face
from fer_ray.faces.landmarks import LandmarkLocator
from fer_ray.faces.loaded_models import load_locator, load_reader
from fer_ray.faces.model_paths import landmark_file
from fer_ray.features import steps
from fer_ray.settings.extraction import Crop, Decode, ExtractSettings, Landmarks
from fer_ray.settings.root import Settings
from fer_ray.sources.decoding import Decoded, decode_file
from fer_ray.vocabulary import Stage, Status

SETTINGS = ExtractSettings()
FAST = Settings(profile="fast").extract


@pytest.fixture(scope="module")
def mixed(corpus: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with faces, two faces next to each other, no face, and files that are not images."""
    root = tmp_path_factory.mktemp("mixed")
    peaks = sorted(corpus.glob("cohn-kanade-images/*/*/*.png"))[:5]
    for number, file in enumerate(peaks):
        (root / f"face{number}.png").write_bytes(file.read_bytes())
    gray = cv2.imread(str(peaks[0]), cv2.IMREAD_GRAYSCALE)
    cv2.imwrite(str(root / "two.png"), np.hstack([gray, gray]))
    cv2.imwrite(str(root / "plain.png"), np.full((200, 200), 128, np.uint8))
    cv2.imwrite(str(root / "pixel.png"), np.full((1, 1), 128, np.uint8))
    cv2.imwrite(str(root / "line.png"), np.full((1, 3000), 128, np.uint8))
    (root / "half.png").write_bytes(peaks[0].read_bytes()[:40_000])
    (root / "words.png").write_text("not an image")
    return root


def run_all_steps(root: Path, paths: list[str], settings: ExtractSettings = SETTINGS) -> pa.Table:
    table = find_faces([decode_file(root / path, settings.decode) for path in paths], settings)
    table = steps.features(table, settings.features.sets, settings.crop.size_px)
    given = pa.array(paths, pa.string()).take(table[steps.IMAGE].combine_chunks())
    return table.drop_columns([steps.IMAGE]).append_column("path", given)


def find_faces(images: Iterable[Decoded], settings: ExtractSettings) -> pa.Table:
    reader = load_reader(settings.crop, settings.landmarks)
    table = steps.read_faces(images, reader, settings.crop.faces)
    return steps.landmarks(table, load_locator(settings.landmarks), settings.crop.size_px)


def names(root: Path) -> list[str]:
    return sorted(path.name for path in root.iterdir())


def test_one_row_per_file(mixed: Path) -> None:
    rows = {row["path"]: row for row in run_all_steps(mixed, names(mixed)).to_pylist()}
    assert {path: (row["status"], row["stage"]) for path, row in rows.items()} == {
        **{f"face{n}.png": (Status.OK, Stage.FEATURES) for n in range(5)},
        "two.png": (Status.SEVERAL_FACES, Stage.CROP),
        "plain.png": (Status.NO_FACE, Stage.CROP),
        "pixel.png": (Status.NO_FACE, Stage.CROP),
        "line.png": (Status.NO_FACE, Stage.CROP),
        "half.png": (Status.UNREADABLE, Stage.DECODE),
        "words.png": (Status.UNREADABLE, Stage.DECODE),
    }
    assert all((row["error"] is None) == (row["status"] == Status.OK) for row in rows.values())
    assert rows["two.png"]["cascade_faces"] == {
        "default": 2,
        "alt2": 2,
        "alt": 2,
        "alt_tree": 2,
    } or (rows["two.png"]["cascade_faces"]["default"] == 2)
    assert rows["face0.png"]["cascade_faces"]["default"] == 1
    assert rows["face0.png"]["cascade_faces"]["alt_tree"] is None  # did not run
    assert rows["half.png"]["cascade_faces"] is None


@pytest.mark.parametrize("settings", [SETTINGS, FAST], ids=["reference", "fast"])
def test_rows_do_not_depend_on_batch_size(mixed: Path, settings: ExtractSettings) -> None:
    paths = names(mixed)
    expected = run_all_steps(mixed, paths, settings)
    for size in (1, 4):
        parts = [
            run_all_steps(mixed, paths[at : at + size], settings)
            for at in range(0, len(paths), size)
        ]
        assert pa.concat_tables(parts).combine_chunks().equals(expected.combine_chunks())


def test_empty_batch(mixed: Path) -> None:
    empty = run_all_steps(mixed, names(mixed)[:1]).slice(0, 0)
    assert run_all_steps(mixed, []).schema.equals(empty.schema)


def test_failed_batch_has_the_same_columns(mixed: Path) -> None:
    expected = run_all_steps(mixed, names(mixed)[:1])
    for failed in (["words.png", "half.png"], ["plain.png"]):
        table = run_all_steps(mixed, failed)
        assert table.schema.equals(expected.schema)
        assert table["features_hog"].null_count == len(failed)


def test_features_step_drops_pixels(mixed: Path) -> None:
    assert steps.CROP not in set(run_all_steps(mixed, names(mixed)).column_names)


def hidden_face(path: str, root: Path) -> pa.Table:
    """A cropped image with black pixels, in which dlib finds no face."""
    image = decode_file(root / path, SETTINGS.decode)
    table = steps.read_faces([image], load_reader(SETTINGS.crop, SETTINGS.landmarks), "one")
    black = pa.array([bytes(350 * 350)], pa.large_binary())
    return table.set_column(table.column_names.index(steps.CROP), steps.CROP, black)


def test_crop_without_dlib_face_has_no_landmarks(mixed: Path) -> None:
    row = steps.landmarks(
        hidden_face("face0.png", mixed), load_locator(Landmarks()), 350
    ).to_pylist()[0]
    assert (row["status"], row["landmark_faces"]) == (Status.NO_LANDMARKS, 0)
    assert row["landmarks_xy"] is None


def test_fallback_uses_the_cascade_box(mixed: Path) -> None:
    locator = load_locator(Landmarks(fallback="box"))
    table = steps.landmarks(hidden_face("face0.png", mixed), locator, 350)
    row = steps.features(table, SETTINGS.features.sets, 350).to_pylist()[0]
    assert (row["status"], row["stage"]) == (Status.OK_BY_BOX, Stage.FEATURES)
    assert row["landmark_faces"] == 0
    assert "the detector's box was used" in row["error"]
    assert row["features_hog"] is not None


def test_fallback_does_not_change_other_faces(mixed: Path) -> None:
    faces = [f"face{n}.png" for n in range(5)]
    box = SETTINGS.model_copy(update={"landmarks": Landmarks(fallback="box")})
    assert run_all_steps(mixed, faces, box).equals(run_all_steps(mixed, faces))


def test_column_types(mixed: Path) -> None:
    table = run_all_steps(mixed, names(mixed))
    documented = extraction_schema(SETTINGS)
    for name in table.column_names:
        assert table.schema.field(name).type == documented.field(name).type, name


def test_rows_equal_the_naive_study(mixed: Path) -> None:
    import dlib

    cascades, predictor = load_cascades(), load_predictor()
    detector = dlib.get_frontal_face_detector()
    finder, locator = FaceFinder(Crop()), load_locator(Landmarks())
    for row in run_all_steps(mixed, [f"face{n}.png" for n in range(5)]).to_pylist():
        naive = find_face(mixed / row["path"], cascades)
        assert naive.crop is not None
        assert (row["detector"], tuple(row["box_xywh"])) == (naive.cascade, naive.box_xywh)
        gray = cv2.imread(str(mixed / row["path"]), cv2.IMREAD_GRAYSCALE)
        crop = crop_face(gray, finder(gray).box_xywh)
        np.testing.assert_array_equal(crop, naive.crop)
        points = find_landmarks(naive.crop, detector, predictor)
        assert points is not None
        np.testing.assert_array_equal(np.reshape(row["landmarks_xy"], (68, 2)), points)
        np.testing.assert_array_equal(locator(crop)[1], points)
        np.testing.assert_allclose(
            row["features_reference"], vectorise(points), rtol=1e-6, atol=1e-5
        )


def test_later_cascades_do_not_run(mixed: Path) -> None:
    gray = cv2.imread(str(mixed / "face0.png"), cv2.IMREAD_GRAYSCALE)
    assert set(FaceFinder(Crop())(gray).faces) == {"default"}
    other = FaceFinder(Crop(cascades=("alt2", "default")))(gray)
    assert (other.cascade, set(other.faces)) == ("alt2", {"alt2"})


def test_large_image_is_rejected(mixed: Path) -> None:
    image = decode_file(mixed / "face0.png", Decode(max_pixels=1000))
    assert (image.status, image.width) == (Status.TOO_LARGE, 640)


def test_reduced_jpeg_has_the_same_face(mixed: Path, tmp_path: Path) -> None:
    face = cv2.imread(str(mixed / "face0.png"), cv2.IMREAD_GRAYSCALE)
    large = cv2.resize(face, None, fx=3.3, fy=3.3, interpolation=cv2.INTER_CUBIC)
    cv2.imwrite(str(tmp_path / "large.jpg"), large)
    rows = []
    for profile in ("reference", "fast"):
        settings = Settings(profile=profile).extract
        image = decode_file(tmp_path / "large.jpg", settings.decode)
        assert image.reduction == (2 if profile == "fast" else 1)
        rows.append(find_faces([image], settings).to_pylist()[0])
    full, reduced = rows
    assert (reduced["status"], reduced["width"]) == (Status.OK, large.shape[1])
    np.testing.assert_allclose(reduced["box_xywh"], full["box_xywh"], atol=0.03 * large.shape[0])
    points = [
        np.reshape(row["landmarks_xy"], (68, 2)) * row["box_xywh"][2] / 350 + row["box_xywh"][:2]
        for row in rows
    ]
    distances = np.linalg.norm(points[0] - points[1], axis=1) * 350 / full["box_xywh"][2]
    assert distances.mean() < 4  # px of a crop of 350 px


def test_invalid_landmark_model_is_rejected(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"model file .*none.dat does not exist"):
        load_locator(Landmarks(file=str(tmp_path / "none.dat")))
    other_file = tmp_path / "other.dat"
    other_file.write_bytes(b"not a model")
    with pytest.raises(UserError, match="is not a dlib shape predictor"):
        load_locator(Landmarks(file=str(other_file)))
    five_points = landmark_file(Landmarks()).with_name("shape_predictor_5_face_landmarks.dat")
    with pytest.raises(UserError, match="predicts 5 points"):
        LandmarkLocator(Landmarks(), five_points)
