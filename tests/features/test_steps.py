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
from fer_ray.execution.chain import schema
from fer_ray.faces.crops import FaceFinder, cut
from fer_ray.faces.landmarks import LandmarkLocator, model_file
from fer_ray.features import steps
from fer_ray.settings.extraction import Crop, Decode, ExtractSettings, Landmarks
from fer_ray.settings.root import Settings
from fer_ray.vocabulary import Stage, Status

SETTINGS = ExtractSettings()
FAST = Settings(profile="fast").extract


@pytest.fixture(scope="module")
def mixed(corpus: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with faces, two faces side by side, no face, and files that are no image."""
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
    (root / "words.png").write_text("no image")
    return root


def through_all_steps(
    root: Path, paths: list[str], settings: ExtractSettings = SETTINGS
) -> pa.Table:
    table = pa.table({"path": pa.array(paths, pa.string())})
    table = steps.decode(table, root, settings.decode)
    table = steps.crop(table, settings.crop)
    table = steps.landmarks(table, settings.landmarks, settings.crop.size_px)
    return steps.features(table, settings.features.sets, settings.crop.size_px)


def names(root: Path) -> list[str]:
    return sorted(path.name for path in root.iterdir())


def test_every_file_gives_one_row_with_status_stage_and_reason(mixed: Path) -> None:
    rows = {row["path"]: row for row in through_all_steps(mixed, names(mixed)).to_pylist()}
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
    assert rows["face0.png"]["cascade_faces"]["alt_tree"] is None  # it was not needed
    assert rows["half.png"]["cascade_faces"] is None


@pytest.mark.parametrize("settings", [SETTINGS, FAST], ids=["reference", "fast"])
def test_rows_are_the_same_for_any_batch_size(mixed: Path, settings: ExtractSettings) -> None:
    paths = names(mixed)
    whole = through_all_steps(mixed, paths, settings)
    for size in (1, 4):
        parts = [
            through_all_steps(mixed, paths[at : at + size], settings)
            for at in range(0, len(paths), size)
        ]
        assert pa.concat_tables(parts).combine_chunks().equals(whole.combine_chunks())


def test_a_batch_of_nothing_passes_through(mixed: Path) -> None:
    empty = through_all_steps(mixed, names(mixed)[:1]).slice(0, 0)
    assert through_all_steps(mixed, []).schema.equals(empty.schema)


def test_a_batch_in_which_every_image_failed_has_the_same_columns(mixed: Path) -> None:
    whole = through_all_steps(mixed, names(mixed)[:1])
    for failed in (["words.png", "half.png"], ["plain.png"]):
        table = through_all_steps(mixed, failed)
        assert table.schema.equals(whole.schema)
        assert table["features_hog"].null_count == len(failed)


def test_no_pixels_are_left_when_the_features_are_made(mixed: Path) -> None:
    assert not {steps.GRAY, steps.CROP} & set(through_all_steps(mixed, names(mixed)).column_names)


def covered(path: str, root: Path) -> pa.Table:
    """A cropped image whose face is then hidden, so that dlib finds none."""
    table = steps.decode(pa.table({"path": [path]}), root, SETTINGS.decode)
    table = steps.crop(table, SETTINGS.crop)
    hidden = pa.array([bytes(350 * 350)], pa.large_binary())
    return table.set_column(table.column_names.index(steps.CROP), steps.CROP, hidden)


def test_a_crop_without_a_dlib_face_has_no_landmarks_by_the_reference(mixed: Path) -> None:
    row = steps.landmarks(covered("face0.png", mixed), Landmarks(), 350).to_pylist()[0]
    assert (row["status"], row["landmark_faces"]) == (Status.NO_LANDMARKS, 0)
    assert row["landmarks_xy"] is None


def test_with_the_fallback_the_crop_stands_in_and_the_row_says_so(mixed: Path) -> None:
    table = steps.landmarks(covered("face0.png", mixed), Landmarks(fallback="box"), 350)
    row = steps.features(table, SETTINGS.features.sets, 350).to_pylist()[0]
    assert (row["status"], row["stage"]) == (Status.OK_BY_BOX, Stage.FEATURES)
    assert row["landmark_faces"] == 0
    assert "the crop stood in" in row["error"]
    assert row["features_hog"] is not None


def test_the_fallback_changes_no_face_that_dlib_finds(mixed: Path) -> None:
    faces = [f"face{n}.png" for n in range(5)]
    box = SETTINGS.model_copy(update={"landmarks": Landmarks(fallback="box")})
    assert through_all_steps(mixed, faces, box).equals(through_all_steps(mixed, faces))


def test_rows_have_the_documented_types(mixed: Path) -> None:
    table = through_all_steps(mixed, names(mixed))
    documented = schema(SETTINGS)
    for name in table.column_names:
        assert table.schema.field(name).type == documented.field(name).type, name


def test_crops_landmarks_and_features_equal_the_naive_procedure(mixed: Path) -> None:
    import dlib

    cascades, predictor = load_cascades(), load_predictor()
    detector = dlib.get_frontal_face_detector()
    finder, locator = FaceFinder(Crop()), LandmarkLocator(Landmarks())
    for row in through_all_steps(mixed, [f"face{n}.png" for n in range(5)]).to_pylist():
        naive = find_face(mixed / row["path"], cascades)
        assert naive.crop is not None
        assert (row["cascade"], tuple(row["box_xywh"])) == (naive.cascade, naive.box_xywh)
        gray = cv2.imread(str(mixed / row["path"]), cv2.IMREAD_GRAYSCALE)
        crop = cut(gray, finder(gray).box_xywh)  # type: ignore[arg-type]
        np.testing.assert_array_equal(crop, naive.crop)
        points = find_landmarks(naive.crop, detector, predictor)
        assert points is not None
        np.testing.assert_array_equal(np.reshape(row["landmarks_xy"], (68, 2)), points)
        np.testing.assert_array_equal(locator(crop)[1], points)
        np.testing.assert_allclose(
            row["features_reference"], vectorise(points), rtol=1e-6, atol=1e-5
        )


def test_cascades_after_the_deciding_one_do_not_run(mixed: Path) -> None:
    gray = cv2.imread(str(mixed / "face0.png"), cv2.IMREAD_GRAYSCALE)
    assert set(FaceFinder(Crop())(gray).faces) == {"default"}
    other = FaceFinder(Crop(cascades=("alt2", "default")))(gray)
    assert (other.cascade, set(other.faces)) == ("alt2", {"alt2"})


def test_a_large_image_is_refused_by_the_decode_step(mixed: Path) -> None:
    table = steps.decode(pa.table({"path": ["face0.png"]}), mixed, Decode(max_pixels=1000))
    assert table["status"].to_pylist() == [Status.TOO_LARGE]
    assert table["width"].to_pylist() == [640]


def test_a_large_jpeg_gives_the_same_face_from_a_part_of_its_size(
    mixed: Path, tmp_path: Path
) -> None:
    face = cv2.imread(str(mixed / "face0.png"), cv2.IMREAD_GRAYSCALE)
    large = cv2.resize(face, None, fx=3.3, fy=3.3, interpolation=cv2.INTER_CUBIC)
    cv2.imwrite(str(tmp_path / "large.jpg"), large)
    rows = []
    for profile in ("reference", "fast"):
        settings = Settings(profile=profile).extract
        table = steps.decode(pa.table({"path": ["large.jpg"]}), tmp_path, settings.decode)
        assert table[steps.REDUCTION].to_pylist() == [2 if profile == "fast" else 1]
        table = steps.crop(table, settings.crop)
        table = steps.landmarks(table, settings.landmarks, settings.crop.size_px)
        rows.append(table.to_pylist()[0])
    whole, small = rows
    assert (small["status"], small["width"]) == (Status.OK, large.shape[1])
    np.testing.assert_allclose(small["box_xywh"], whole["box_xywh"], atol=0.03 * large.shape[0])
    seen = [
        np.reshape(row["landmarks_xy"], (68, 2)) * row["box_xywh"][2] / 350 + row["box_xywh"][:2]
        for row in rows
    ]
    apart = np.linalg.norm(seen[0] - seen[1], axis=1).mean() * 350 / whole["box_xywh"][2]
    assert apart < 4  # px of 350


def test_a_missing_or_foreign_landmark_model_is_told_of(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="There is no landmark model"):
        LandmarkLocator(Landmarks(model=tmp_path / "none.dat"))
    foreign = tmp_path / "foreign.dat"
    foreign.write_bytes(b"no model")
    with pytest.raises(UserError, match="is no dlib shape predictor"):
        LandmarkLocator(Landmarks(model=foreign))
    five_points = model_file(None).with_name("shape_predictor_5_face_landmarks.dat")
    with pytest.raises(UserError, match="places 5 points"):
        LandmarkLocator(Landmarks(model=five_points))
