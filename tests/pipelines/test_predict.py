import json
import shutil
from pathlib import Path

import cv2
import numpy as np
import pyarrow.parquet as pq
import pytest
from deltalake import DeltaTable
from PIL import Image

from fer_ray.errors import MismatchError, UserError
from fer_ray.execution.progress import silent
from fer_ray.models.bundles.bundle import read_bundle
from fer_ray.models.bundles.predictor import Predictor
from fer_ray.pipelines.prediction.predict import predict, run_predict
from fer_ray.pipelines.prediction.prediction_plan import plan_prediction
from fer_ray.pipelines.sweep import run_sweep
from fer_ray.pipelines.sweeps.context import SweepRequest
from fer_ray.schemas import LISTING_FIELDS, predicted_images_schema
from fer_ray.settings.extraction import Crop, ExtractSettings, Faces, Selection
from fer_ray.settings.root import Execution, Settings
from fer_ray.settings.sweeping import SweepSettings
from fer_ray.sources.datasets.several_sources import list_images
from fer_ray.storage.locks import lock_folder
from fer_ray.vocabulary import ABSTAINED
from tests.conftest import FerRay, run_in_process


@pytest.fixture(scope="module")
def images(corpus: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Synthetic faces in folders named after emotions, and two files that are not images.

    Three files are as in training; seven show the same, but are others; two of these are in a wrong
    folder.
    """
    root = tmp_path_factory.mktemp("images")
    rows = list_images([corpus], Selection()).table.to_pylist()[:10]
    for number, row in enumerate(rows):
        emotion = "disgust" if number > 7 and row["emotion"] != "disgust" else row["emotion"]
        copy = root / emotion / f"{number}.png"
        copy.parent.mkdir(exist_ok=True)
        shutil.copy(corpus / row["path"], copy)
        if number > 2:
            with Image.open(copy) as opened:
                opened.copy().save(copy, compress_level=1)
    (root / "happy").mkdir(exist_ok=True)
    (root / "happy" / "broken.png").write_bytes(b"no image")
    (root / "happy" / "empty.png").touch()
    return root


def test_rows_are_independent_of_blocks_and_workers(
    images: Path, kept_bundle: Path, local_ray: int, tmp_path: Path
) -> None:
    tables = []
    for number, execution in enumerate(
        (Execution(workers=1, block_images=100), Execution(workers=2, block_images=3))
    ):
        out = tmp_path / str(number)
        out.mkdir()
        with silent("predict", "images", 0) as advance:
            predict(plan_prediction(kept_bundle, [images], out), out, execution, advance)
        tables.append(pq.read_table(out / "predictions"))
    assert tables[0].equals(tables[1])
    assert tables[0].schema.equals(predicted_images_schema(Predictor(kept_bundle).labels))


@pytest.fixture(scope="module")
def predicted_folder(
    images: Path, kept_bundle: Path, fer_ray: FerRay, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, str]:
    """Folder of predictions that the command wrote, and its output."""
    out = tmp_path_factory.mktemp("predicted_folder") / "out"
    done = fer_ray("predict", kept_bundle, images, "--out", out, "--sheet", "--workers", 1)
    assert done.returncode == 0, done.stderr
    return out, done.stdout


def test_command_predicts_every_image_once(
    images: Path, kept_bundle: Path, fer_ray: FerRay, predicted_folder: tuple[Path, str]
) -> None:
    out, _ = predicted_folder
    record = json.loads((out / "predict.json").read_text())
    rows = pq.read_table(out / "predictions").to_pandas()
    assert record["counts"] == {"ok": 10, "unreadable": 2}
    assert rows["status"].value_counts().to_dict() == record["counts"]
    assert rows["predicted"].notna().sum() == 10 == sum(record["predicted"].values())
    assert rows.loc[rows.status == "ok", "box_xywh"].map(len).eq(4).all()
    assert set(rows["bundle_sha256"]) == {read_bundle(kept_bundle).sha256}
    found = record["evaluation"]
    assert (found["labelled"], found["left_out_trained_on"]) == (12, 3)
    assert (found["judged"], found["answered"], found["coverage"]) == (9, 7, 7 / 9)
    judged = rows[~rows["sha256"].isin(Predictor(kept_bundle).trained_on) & (rows.status == "ok")]
    accuracy = float((judged["emotion"] == judged["predicted"]).mean())
    assert found["figures"]["accuracy"] == accuracy < 1
    assert found["figures"]["accuracy_counting_no_face_as_wrong"] == pytest.approx(accuracy * 7 / 9)
    again = fer_ray("predict", kept_bundle, images, "--out", out, "--workers", 1)
    assert "already finished" in again.stdout
    again = fer_ray("predict", kept_bundle, images, "--out", out, "--json")
    assert json.loads(again.stdout)["timings"] == record["timings"]
    (images / "happy" / "another.png").write_bytes(b"none either")
    try:
        other = fer_ray("predict", kept_bundle, images, "--out", out)
    finally:
        (images / "happy" / "another.png").unlink()
    assert other.returncode == 3
    assert "the source has changed" in other.stderr


def test_command_reports_accuracy_and_files(
    kept_bundle: Path, predicted_folder: tuple[Path, str]
) -> None:
    out, printed = predicted_folder
    text = " ".join(printed.split())
    evidence = read_bundle(kept_bundle).manifest.evidence
    figures = json.loads((out / "predict.json").read_text())["evaluation"]["figures"]
    assert "7 of 9 labelled images have a face; 3 more were left out" in text
    assert f"On these images: accuracy {figures['accuracy']:.3f} (95%" in text
    assert f"({evidence.data}, {evidence.protocol}): accuracy {evidence.test_accuracy:.3f}" in text
    for name in ("predictions", "predict.json", "report/index.html", "sheet.png"):
        assert f": {out / name}" in printed
        assert (out / name).exists()


@pytest.mark.thorough
def test_unlabelled_images_are_not_evaluated(
    images: Path, kept_bundle: Path, fer_ray: FerRay, tmp_path: Path
) -> None:
    listed = images / "paths.csv"
    listed.write_text("path\n" + "\n".join(sorted(str(one) for one in images.rglob("*.png"))[:2]))
    try:
        done = fer_ray("predict", kept_bundle, listed, "--out", tmp_path / "unlabelled")
    finally:
        listed.unlink()
    assert done.returncode == 0, done.stderr
    assert "No image is labelled, so the predictions are not evaluated." in done.stdout
    assert "without a label" not in done.stdout
    assert "report:" not in done.stdout


@pytest.fixture(scope="module")
def groups(corpus: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A face, two faces side by side, and a file that is not an image, all labelled."""
    root = tmp_path_factory.mktemp("groups")
    files = list_images([corpus], Selection()).table["path"].to_pylist()[::7][:2]
    large, small = (cv2.imread(str(corpus / file), cv2.IMREAD_GRAYSCALE) for file in files)
    small = cv2.resize(small, None, fx=0.6, fy=0.6)
    ground = np.full((large.shape[0], small.shape[1]), 128, np.uint8)
    ground[: small.shape[0]] = small
    (root / "happy").mkdir()
    cv2.imwrite(str(root / "happy" / "pair.png"), np.hstack([large, ground]))
    cv2.imwrite(str(root / "happy" / "single.png"), large)
    (root / "happy" / "broken.png").write_bytes(b"no image")
    return root


def test_further_faces_are_reported(groups: Path, kept_bundle: Path) -> None:
    image = groups / "happy" / "pair.png"
    for faces, reported in (("largest", True), ("all", False)):
        done = run_in_process("predict", kept_bundle, image, "--faces", faces)
        assert done.returncode == 0, done.stderr
        assert ("Images with faces that have no row: 1 " in done.stdout) == reported


@pytest.mark.parametrize(
    ("faces", "rows"),
    [
        pytest.param("one", 3, marks=pytest.mark.thorough),
        pytest.param("largest", 3, marks=pytest.mark.thorough),
        ("all", 4),
    ],
)
def test_rows_of_faces_equal_those_of_a_sweep(
    groups: Path, kept_bundle: Path, tmp_path: Path, faces: Faces, rows: int
) -> None:
    out, store = tmp_path / "out", tmp_path / "store"
    execution = Execution(executor="in-process")
    with lock_folder(out):
        record = run_predict(kept_bundle, [groups], out, execution, silent, faces=faces, sheet=True)
    predicted = pq.read_table(out / "predictions")
    assert predicted.num_rows == rows == record["rows"]
    assert sum(record["counts"].values()) == 3 == record["data"]["selected"]
    assert sum(record["predicted"].values()) == predicted["predicted"].drop_null().length()
    sweep = SweepSettings(fuse_images=0)
    extract = ExtractSettings(crop=Crop(faces=faces))
    settings = Settings(extract=extract, sweep=sweep, execution=execution)
    run_sweep(SweepRequest(str(groups), str(store), settings, silent, model=kept_bundle))
    results = DeltaTable(str(store / "results")).to_pyarrow_table()
    common = [name for name in predicted.column_names if name in results.column_names]
    assert {"face_index", "face_id", "box_xywh", "predicted", "bundle_sha256"} <= {*common}
    keys = [("sha256", "ascending"), ("face_index", "ascending")]
    read = predicted.filter(predicted["sha256"].is_valid()).select(common).sort_by(keys)
    assert read.to_pylist() == results.select(common).sort_by(keys).to_pylist()
    evaluation = record["evaluation"]
    assert evaluation["labelled"] == 3
    assert evaluation["left_out_several_faces"] == (faces == "all")
    assert (out / "sheet.png").exists()


def test_other_faces_require_fresh(
    groups: Path, kept_bundle: Path, fer_ray: FerRay, tmp_path: Path
) -> None:
    command = ("predict", kept_bundle, groups / "happy" / "pair.png", "--out", tmp_path / "out")
    done = fer_ray(*command, "--faces", "all", "--json")
    assert json.loads(done.stdout)["rows"] == 2
    done = fer_ray(*command)
    assert done.returncode == 3
    assert "--faces was all and is now one" in done.stderr


def test_abstain_below(groups: Path, kept_bundle: Path, fer_ray: FerRay, tmp_path: Path) -> None:
    command = ("predict", kept_bundle, groups / "happy" / "single.png", "--out", tmp_path / "out")
    answers = []
    for threshold in ("0", "1"):
        done = fer_ray(*command, "--abstain-below", threshold, "--fresh")
        assert done.returncode == 0, done.stderr
        assert "Abstained: " in done.stdout
        (row,) = pq.read_table(tmp_path / "out" / "predictions").to_pylist()
        answers.append((row["answer"], row["answer"] == row["predicted"]))
    assert answers[0][1]
    assert answers[1] == (ABSTAINED, False)
    done = fer_ray(*command)
    assert done.returncode == 3
    assert "--abstain-below was 1.0 and is now not set" in done.stderr


def test_csv_of_files_elsewhere_is_refused(
    images: Path, kept_bundle: Path, fer_ray: FerRay, tmp_path: Path
) -> None:
    listed = tmp_path / "paths.csv"
    listed.write_text("path\n" + "\n".join(str(one) for one in images.rglob("*.png")))
    done = fer_ray("predict", kept_bundle, listed, "--out", tmp_path / "out")
    assert done.returncode == 2
    assert "Move it to the folder that contains the images" in done.stderr


def test_report_hides_faces_by_default(
    images: Path, kept_bundle: Path, local_ray: int, tmp_path: Path
) -> None:
    out, page = tmp_path / "out", tmp_path / "out" / "report" / "index.html"
    out.mkdir()
    execution = Execution(workers=2)
    run_predict(kept_bundle, [images], out, execution, silent)
    hidden = page.read_text(encoding="utf-8")
    evidence = read_bundle(kept_bundle).manifest.evidence
    assert f"{100 * evidence.test_accuracy:.1f}%" in hidden
    assert "Landmarks of disgust/" in hidden
    assert "Face of disgust/" not in hidden
    assert "Excluded: 3 images that the model was trained on." in hidden
    assert not (out / "sheet.png").exists()
    run_predict(kept_bundle, [images], out, execution, silent, sheet=True, show_faces=True)
    assert "Face of disgust/" in page.read_text(encoding="utf-8")
    with Image.open(out / "sheet.png") as sheet:
        assert sheet.size[0] > 6 * 200
        assert len(sheet.getcolors(2**24) or []) > 100


def test_another_bundle_requires_fresh(images: Path, kept_bundle: Path, tmp_path: Path) -> None:
    plan = plan_prediction(kept_bundle, [images], tmp_path)
    before = {
        "fingerprint": "of another",
        "source_digest": plan.extraction.source_digest,
        "bundle": {"sha256": "of another"},
    }
    (tmp_path / "predictions").mkdir()
    (tmp_path / "predict.json").write_text(json.dumps(before))
    with pytest.raises(MismatchError, match="they come from another bundle"):
        plan_prediction(kept_bundle, [images], tmp_path)
    assert plan_prediction(kept_bundle, [images], tmp_path, fresh=True).extraction.finished is None


def test_bundle_changed_after_planning_raises(
    images: Path, kept_bundle: Path, local_ray: int, tmp_path: Path
) -> None:
    bundle, out = shutil.copytree(kept_bundle, tmp_path / "model"), tmp_path / "out"
    out.mkdir()
    plan = plan_prediction(bundle, [images], out)
    manifest = bundle / "bundle.json"
    manifest.write_text(manifest.read_text() + "\n")
    with (
        pytest.raises(UserError, match="replaced by another bundle") as raised,
        silent("predict", "images", 0) as advance,
    ):
        predict(plan, out, Execution(workers=1), advance)
    assert "Traceback" not in str(raised.value)


def test_files_and_folders_give_one_listing(images: Path) -> None:
    single = next((images / "neutral").glob("*.png"))
    listing = list_images([single, images / "happy", images], Selection(frames="all"))
    paths = listing.table["path"].to_pylist()
    assert listing.root == images.resolve()
    assert paths == sorted(set(paths)) == listing.table["image_id"].to_pylist()
    assert len(paths) == 12 == listing.summary["selected"]
    labels = dict(zip(paths, listing.table["emotion"].to_pylist(), strict=True))
    assert labels[f"neutral/{single.name}"] == "neutral"
    assert listing.table.schema.names == [field.name for field in LISTING_FIELDS]
    with pytest.raises(UserError, match=r"absent.* does not exist"):
        list_images([images / "absent.png"], Selection())


def test_single_image_has_no_label(images: Path) -> None:
    single = next((images / "neutral").glob("*.png"))
    listing = list_images([single], Selection(frames="all"))
    assert listing.table.to_pylist()[0]["path"] == single.name
    assert listing.table["label"].null_count == 1
