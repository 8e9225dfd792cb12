"""The mesh profile from photographs to predictions, in every command that extracts."""

import csv
import json
import shutil
from pathlib import Path

import cv2
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from deltalake import DeltaTable

from fer_ray.faces.crops import recrop
from fer_ray.settings.extraction import Decode
from fer_ray.vocabulary import BLENDSHAPES
from tests.conftest import PHOTOS, FerRay

N_IMAGES = 24  # of each emotion


@pytest.fixture(scope="module")
def photographs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of labelled photographs, one of which shows two faces."""
    table = PHOTOS / "dump" / "labels.csv"
    if not table.is_file():
        pytest.skip("no photographs available (set FER_RAY_PHOTOS)")
    root = tmp_path_factory.mktemp("photographs")
    with table.open() as lines:
        rows = list(csv.DictReader(lines))
    for emotion in ("happy", "neutral"):
        (root / emotion).mkdir()
        for row in [row for row in rows if row["emotion"] == emotion][: 5 * N_IMAGES : 5]:
            shutil.copy(PHOTOS / "dump" / row["path"], root / emotion)
    first = cv2.imread(str(min((root / "happy").iterdir())), cv2.IMREAD_GRAYSCALE)
    cv2.imwrite(str(root / "happy" / "pair.png"), np.hstack([first, first]))
    return root


@pytest.fixture(scope="module")
def options(landmarker_file: Path) -> tuple[object, ...]:
    return ("--profile", "mesh", "--landmark-file", landmarker_file)


@pytest.fixture(scope="module")
def run_folder(
    photographs: Path, options: tuple[object, ...], fer_ray: FerRay,
    tmp_path_factory: pytest.TempPathFactory,
) -> Path:  # fmt: skip
    """The photographs, extracted without Ray."""
    out = tmp_path_factory.mktemp("mesh") / "out"
    done = fer_ray(
        "extract", "--data", photographs, "--out", out, *options,
        "--set", "execution.executor=in-process",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return out


def read_frames(out: Path) -> pa.Table:
    return pq.read_table(out / "frames")


@pytest.mark.slow
def test_rows_have_named_and_bounded_values(run_folder: Path) -> None:
    frames = read_frames(run_folder).to_pandas()
    usable = frames[frames["status"] == "ok"]
    assert len(usable) > 0.9 * len(frames)
    assert set(usable["detector"]) <= {"blazeface", "default", "alt2", "alt", "alt_tree"}
    scores = usable["detector_score"].dropna()
    assert scores.between(0.5, 1).all()
    assert usable["brightness"].between(1, 255).all()
    assert usable["sharpness"].gt(0).all()
    assert usable["yaw"].between(-90, 90).all()
    movements = np.stack(usable["features_blendshapes"])
    assert movements.shape[1] == len(BLENDSHAPES)
    assert movements.min() >= 0
    assert movements.max() <= 1
    poses = usable[["yaw", "pitch", "roll"]].to_numpy()
    np.testing.assert_array_equal(np.stack(usable["features_pose"]), poses)
    points = np.stack(usable["landmarks_xy"]).reshape(-1, 68, 2)
    assert (points.mean(axis=(1, 2)) > 100).all()  # in pixels of a crop of 350
    pair = frames[frames["path"].str.endswith("pair.png")].iloc[0]
    assert (pair["status"], pair["other_faces"]) == ("several_faces", 2)


@pytest.mark.slow
def test_smiles_have_a_larger_blendshape(run_folder: Path) -> None:
    frames = read_frames(run_folder).to_pandas()
    usable = frames[frames["status"] == "ok"]
    smile = np.stack(usable["features_blendshapes"])[:, BLENDSHAPES.index("mouthSmileLeft")]
    happy = (usable["emotion"] == "happy").to_numpy()
    assert np.median(smile[happy]) > np.median(smile[~happy]) + 0.2


@pytest.mark.slow
def test_rows_are_equal_on_ray(
    run_folder: Path, photographs: Path, options: tuple[object, ...], fer_ray: FerRay,
    tmp_path: Path,
) -> None:  # fmt: skip
    out = tmp_path / "ray"
    on_ray = ("--set", "execution.executor=ray", "--set", "execution.block_images=7")
    done = fer_ray("extract", "--data", photographs, "--out", out, *options, *on_ray)
    assert done.returncode == 0, done.stderr
    assert read_frames(out).equals(read_frames(run_folder))


@pytest.mark.slow
def test_crops_are_reproduced_and_exported(
    run_folder: Path, photographs: Path, options: tuple[object, ...], fer_ray: FerRay,
    tmp_path: Path,
) -> None:  # fmt: skip
    target = tmp_path / "crops"
    done = fer_ray(
        "extract", "--data", photographs, "--out", run_folder, *options, "--export-crops", target
    )
    assert done.returncode == 0, done.stderr
    rows = [row for row in read_frames(run_folder).to_pylist() if row["box_xywh"]]
    exported = {file.stem: file for file in target.rglob("*.png")}
    assert len(exported) == len(rows)
    turned = max(rows, key=lambda row: abs(row["crop_angle"]))
    assert abs(turned["crop_angle"]) > 5
    crop = recrop(turned, photographs, Decode(reduce_to_px=720), 350)
    name = next(stem for stem in exported if Path(turned["path"]).stem in stem)
    np.testing.assert_array_equal(cv2.imread(str(exported[name]), cv2.IMREAD_UNCHANGED), crop)


@pytest.mark.slow
def test_record_names_models_and_licences(run_folder: Path) -> None:
    models = json.loads((run_folder / "extract.json").read_text())["models"]
    assert set(models) == {"detector", "landmarks"}
    assert {model["name"] for model in models.values()} == {"face_landmarker"}
    assert {model["licence"] for model in models.values()} == {"Apache 2.0 (Google)"}
    assert all(model["commercial_use"] for model in models.values())


@pytest.fixture(scope="module")
def bundle(run_folder: Path, fer_ray: FerRay, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle of an SVM on blendshapes."""
    target = tmp_path_factory.mktemp("bundle") / "model"
    trials = ("--feature-set", "blendshapes+pose", "--kernels", "linear", "--trials", "2",
              "--scale", "equal")  # fmt: skip
    for command in (("trials", "--out", run_folder, *trials),
                    ("bundle", "--out", run_folder, "--to", target)):  # fmt: skip
        done = fer_ray(*command)
        assert done.returncode == 0, done.stderr
    return target


@pytest.mark.thorough
@pytest.mark.slow
def test_predictions_equal_those_of_a_sweep(
    bundle: Path, photographs: Path, landmarker_file: Path, fer_ray: FerRay, tmp_path: Path
) -> None:
    shared = ("--landmark-file", landmarker_file, "--faces", "all")
    out, store = tmp_path / "out", tmp_path / "store"
    done = fer_ray("predict", bundle, photographs, "--out", out, *shared)
    assert done.returncode == 0, done.stderr
    done = fer_ray("sweep", "--source", photographs, "--store", store, "--model", bundle, *shared)
    assert done.returncode == 0, done.stderr
    predicted = pq.read_table(out / "predictions")
    results = DeltaTable(str(store / "results")).to_pyarrow_table()
    names = ["sha256", "face_index", "predicted", "box_xywh", "crop_angle", "yaw", "other_faces"]
    keys = [("sha256", "ascending"), ("face_index", "ascending")]
    first, second = (table.select(names).sort_by(keys) for table in (predicted, results))
    assert first.to_pylist() == second.to_pylist()
    assert predicted["predicted"].drop_null().length() > 2 * N_IMAGES - 5


@pytest.mark.slow
def test_small_images_are_predicted_as_whole_faces(
    bundle: Path, run_folder: Path, photographs: Path, landmarker_file: Path, fer_ray: FerRay,
    tmp_path: Path,
) -> None:  # fmt: skip
    small = tmp_path / "small"
    small.mkdir()
    rows = [row for row in read_frames(run_folder).to_pylist() if row["status"] == "ok"][:10]
    for number, row in enumerate(rows):
        crop = recrop(row, photographs, Decode(reduce_to_px=720), 350)
        cv2.imwrite(str(small / f"{number}.png"), cv2.resize(crop, (48, 48)))
    done = fer_ray(
        "predict", bundle, small, "--out", tmp_path / "out",
        "--landmark-file", landmarker_file, "--faces", "whole",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    predicted = pq.read_table(tmp_path / "out" / "predictions").to_pandas()
    assert set(predicted["detector"]) == {"whole"}
    assert (predicted["status"] == "ok").sum() >= 9


@pytest.mark.slow
def test_bundle_card_names_the_licence(bundle: Path) -> None:
    card = (bundle / "CARD.md").read_text()
    assert "Landmark model: face-mesh" in card
    assert "Apache 2.0 (Google)" in card
    assert "excludes commercial use" not in card


def test_all_faces_are_refused_for_frames(fer_ray: FerRay, tmp_path: Path) -> None:
    done = fer_ray("extract", "--data", tmp_path, "--out", tmp_path / "out", "--faces", "all")
    assert done.returncode == 2
    assert "pass --faces one or --faces largest" in done.stderr


def test_mesh_features_without_the_profile_are_refused(fer_ray: FerRay, tmp_path: Path) -> None:
    done = fer_ray("run", "--data", tmp_path, "--out", tmp_path / "out", "--feature-set", "pose")
    assert done.returncode == 2
    assert "extract.features.sets does not include" in done.stderr
    assert "--profile mesh" in done.stderr
