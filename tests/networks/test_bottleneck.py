"""Bottleneck features, with and without Ray: equal to a plain loop, resumable, consistent."""

import json
import shutil
from importlib.util import find_spec
from pathlib import Path

import cv2
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from fer_ray.errors import MismatchError, UserError
from fer_ray.evaluation.experiments.samples import read_samples
from fer_ray.evaluation.experiments.trial_store import FIT_SETTINGS
from fer_ray.execution.progress import silent
from fer_ray.faces.crops import crop_face
from fer_ray.faces.loaded_models import load_reader
from fer_ray.features import steps
from fer_ray.networks.bottleneck import augmentation
from fer_ray.networks.bottleneck.bottleneck_plan import BottleneckPlan, plan_bottleneck
from fer_ray.networks.bottleneck.bottleneck_rows import crop_source
from fer_ray.networks.bottleneck.crop_cache import IMAGE_NUMBER
from fer_ray.networks.heads.head_data import validation_split
from fer_ray.networks.network import Backbone
from fer_ray.networks.weights import find_weights
from fer_ray.pipelines.extraction.bottleneck import run_bottleneck
from fer_ray.pipelines.run import run_extract
from fer_ray.pipelines.training.experiments import prepare_trials
from fer_ray.pipelines.training.heads import fitted_images, run_heads
from fer_ray.pipelines.training.trials import run_trials
from fer_ray.settings.backbones import BACKBONES
from fer_ray.settings.networks import Augmentation
from fer_ray.settings.root import Execution, Settings
from fer_ray.settings.training import TrialSettings
from fer_ray.sources.decoding import decode_file
from fer_ray.storage.files import write_json
from fer_ray.storage.locks import lock_folder
from fer_ray.storage.parquet import write_table
from fer_ray.storage.run_folder import frames_record
from fer_ray.storage.staging import StagedRows
from tests.conftest import FerRay
from tests.images import read_gray
from tests.networks.conftest import RandomWeights, first_frames

# Most tests run in this process, where TensorFlow starts once.
SMALL = Execution(block_images=4, workers=1, executor="in-process")
ON_RAY = Execution(block_images=4, workers=1, executor="ray")


def computed(
    out: Path, corpus: Path, weights: Path | None, name: str = "mobilenet", draws: int = 0,
    fresh: bool = False, execution: Execution = SMALL,
) -> dict[str, object]:  # fmt: skip
    source = str(weights) if weights else None
    plan = plan_bottleneck(frames_record(out), name, source, draws=draws)
    return run_bottleneck(out, corpus, plan, execution, silent, fresh)


def test_crops_of_reduced_photographs_match_extraction(corpus: Path, tmp_path: Path) -> None:
    fast = Settings(profile="fast").extract
    face = read_gray(min(corpus.glob("cohn-kanade-images/*/*/*.png")))
    for number, (left, above) in enumerate([(0, 0), (7, 3), (900, 1031)]):
        whole = cv2.copyMakeBorder(
            cv2.resize(face, None, fx=2.5, fy=2.5), above, 1031 - above, left, 900 - left,
            cv2.BORDER_REPLICATE,
        )  # fmt: skip
        cv2.imwrite(str(tmp_path / f"{number}.jpg"), whole)
    names = ["0.jpg", "1.jpg", "2.jpg"]
    images = [decode_file(tmp_path / name, fast.decode) for name in names]
    assert [image.reduction for image in images] == [2, 2, 2]
    table = steps.read_faces(images, load_reader(fast.crop, fast.landmarks), "one")
    table = table.append_column("path", pa.array(names))
    assert table["status"].to_pylist() == ["ok"] * 3
    expected = steps.pixels(table[steps.CROP], fast.crop.size_px)
    spec = BACKBONES["dlib_resnet"]
    plan = BottleneckPlan(
        spec, None, find_weights(spec, None), False, 0, None, Augmentation(), "",
        fast.crop.size_px, fast.decode,
    )  # fmt: skip
    rows = table.append_column("image_id", table["path"])
    rows = rows.append_column("draw", pa.nulls(3, pa.int16()))
    rows = rows.append_column(IMAGE_NUMBER, pa.array([0, 1, 2]))
    source = crop_source(tmp_path, tmp_path, plan, rows, gib=0)
    np.testing.assert_array_equal(source.crops(rows), expected)
    assert not (tmp_path / "crops").exists()


@pytest.mark.slow
def test_rows_match_a_loop_and_are_computed_once(
    frames: Path, corpus: Path, trained_mobilenet: Path, local_ray: int,
    capfd: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    record = computed(frames, corpus, trained_mobilenet, execution=ON_RAY)
    assert capfd.readouterr().err == ""  # Ray's warning is filtered
    rows = pq.read_table(frames / "frames").to_pandas()
    usable = rows[rows.status == "ok"]
    assert record["rows"] == record["rows_done"] == len(usable) > 6
    boxes = zip(usable.path, usable.box_xywh, strict=True)
    crops = np.stack([crop_face(read_gray(corpus / path), tuple(box)) for path, box in boxes])
    expected = Backbone("mobilenet", trained_mobilenet, threads=1)(crops)
    table = pq.read_table(frames / "bottleneck" / "mobilenet").to_pandas()
    assert table.image_id.tolist() == usable.image_id.tolist()
    np.testing.assert_allclose(np.stack(table.features), expected, rtol=1e-4, atol=1e-6)
    assert set(table.weights_sha256) == {record["weights"]["sha256"]}
    assert record["weights"]["licence"] == "set by the owner of the file"
    assert table.draw.isna().all()

    [part] = (frames / "bottleneck" / "mobilenet").glob("*.parquet")
    before = part.stat().st_mtime_ns
    assert computed(frames, corpus, None, "dlib_resnet")["rows_done"] == len(usable)
    again = computed(frames, corpus, trained_mobilenet)
    assert again == {**record, "already_finished": True}
    assert part.stat().st_mtime_ns == before

    whole = pq.read_table(frames / "bottleneck" / "mobilenet")
    (frames / "bottleneck" / "mobilenet.json").unlink()
    plan = plan_bottleneck(frames_record(frames), "mobilenet", str(trained_mobilenet))
    place = frames / "bottleneck.partial" / "mobilenet" / plan.key[:16]
    done = whole.slice(4)  # as after a stop
    StagedRows(place).write_at(done, np.arange(4, whole.num_rows))
    assert computed(frames, corpus, trained_mobilenet)["rows_done"] == 4
    assert pq.read_table(frames / "bottleneck" / "mobilenet").equals(whole)
    assert not place.exists()

    union = read_samples(frames / "frames", "geometry+mobilenet+dlib_resnet")
    assert union.features.shape[1] == 44 + 256 + 128


@pytest.mark.slow
def test_cached_crops_are_used_and_lost_ones_recreated(
    frames: Path, corpus: Path, tmp_path: Path
) -> None:
    others = shutil.copytree(corpus, tmp_path / "others")
    for file in others.rglob("*.png"):
        file.write_bytes(file.read_bytes() + b"\n")
    none = SMALL.model_copy(update={"crops_gib": 0.0001})  # room for less than one
    computed(frames, corpus, None, "dlib_resnet", execution=none)
    assert not (frames / "crops").exists()
    expected = pq.read_table(frames / "bottleneck" / "dlib_resnet")

    # Blocks of crops and of rows begin elsewhere.
    larger = SMALL.model_copy(update={"block_images": 3})
    again = {"name": "dlib_resnet", "fresh": True, "execution": larger}
    computed(frames, corpus, None, "dlib_resnet", fresh=True)
    kept = sorted((frames / "crops").glob("*/*.parquet"))
    assert sum(pq.read_metadata(file).num_rows for file in kept) == expected.num_rows > 6
    computed(frames, others, None, **again)
    assert pq.read_table(frames / "bottleneck" / "dlib_resnet").equals(expected)
    computed(frames, others, None, "dlib_resnet", draws=1)

    kept[0].write_bytes(kept[0].read_bytes()[:-9])
    with pytest.raises(UserError, match="differs from the extracted image"):
        computed(frames, others, None, **again)
    shutil.rmtree(frames / "crops")
    (frames / "crops").write_text("not a folder")
    computed(frames, corpus, None, **again)
    assert pq.read_table(frames / "bottleneck" / "dlib_resnet").equals(expected)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "draws", "done"),
    [
        ("dlib_resnet", 0, 1),
        pytest.param("dlib_resnet-augmented", 1, 2, marks=pytest.mark.thorough),
    ],
)
def test_features_of_known_contents_are_reused(
    corpus: Path, tmp_path: Path, name: str, draws: int, done: int
) -> None:
    data, files = tmp_path / "tree", sorted(corpus.rglob("*.png"))[::3]
    data.mkdir()
    settings = Settings.model_validate({"profile": "fast", "execution": {"workers": 1}})
    for number, file in enumerate(files[:5]):
        shutil.copy(file, data / f"{number}.png")
    run, other = tmp_path / "run", tmp_path / "other"
    with lock_folder(run):
        assert run_extract(data, run, settings, silent)["counts"] == {"ok": 5}
        assert computed(run, data, None, "dlib_resnet", draws)["rows_done"] == 5
        (data / "0.png").rename(data / "9.png")
        shutil.copy(files[5], data / "5.png")
        assert run_extract(data, run, settings, silent)["timings"]["images_done"] == 1
        assert not (run / "bottleneck").exists()
        record = computed(run, data, None, "dlib_resnet", draws)
        assert record["rows_done"] == done  # draws depend on the name
        assert not any((run / "bottleneck.previous").iterdir())
    with lock_folder(other):
        run_extract(data, other, settings, silent)
        computed(other, data, None, "dlib_resnet", draws)
    tables = [pq.read_table(folder / "bottleneck" / name) for folder in (run, other)]
    assert tables[0].num_rows == 6
    assert tables[0].equals(tables[1])


@pytest.mark.slow
def test_draws_are_reproducible(frames: Path, corpus: Path, trained_mobilenet: Path) -> None:
    computed(frames, corpus, trained_mobilenet, draws=2)
    table = pq.read_table(frames / "bottleneck" / "mobilenet-augmented").to_pandas()
    row = pq.read_table(frames / "frames").to_pandas().set_index("image_id")
    network = Backbone("mobilenet", trained_mobilenet, threads=1)
    assert table.draw.tolist() == [0, 1] * (len(table) // 2)
    for one in table.iloc[[0, 1, len(table) - 1]].itertuples():
        crop = crop_face(
            read_gray(corpus / row.path[one.image_id]), tuple(row.box_xywh[one.image_id])
        )
        change = augmentation.draw(Augmentation(), one.image_id, one.draw)
        expected = network(augmentation.apply_to_crop(change, crop)[None])[0]
        np.testing.assert_allclose(one.features, expected, rtol=1e-4, atol=1e-6)


@pytest.mark.slow
@pytest.mark.thorough
def test_draws_of_fitted_images_serve_their_trials_only(
    run_dir: Path, corpus: Path, tmp_path: Path
) -> None:
    frames = first_frames(run_dir, tmp_path / "deep", 16)  # two subjects: one is fitted
    computed(frames, corpus, None, "dlib_resnet")
    ids = pq.read_table(frames / "bottleneck" / "dlib_resnet")["image_id"].to_pylist()
    one, both = tmp_path / "one.csv", tmp_path / "both.csv"
    for file, trials in ((one, 1), (both, 2)):
        rows = [f"{name},{trial},{'test' if name in ids[:2] else 'train'}"
                for trial in range(trials) for name in ids]  # fmt: skip
        file.write_text("\n".join(["image_id,trial,part", *rows]))

    splitting = TrialSettings(folds=one)
    drawn = fitted_images(frames, splitting)
    plan = plan_bottleneck(frames_record(frames), "dlib_resnet", None, draws=10, drawn_ids=drawn)
    run_bottleneck(frames, corpus, plan, SMALL, silent)
    ready = prepare_trials(frames, splitting, "dlib_resnet")
    trained = ready.folds.splits[0].train
    inner = validation_split(ready.samples, trained, ready.folds.protocol, 0.2, 0, 0)
    table = pq.read_table(frames / "bottleneck" / "dlib_resnet-augmented")
    fitted = {ready.samples.image_ids[row] for row in inner.train}
    assert set(table["image_id"].to_pylist()) == fitted
    assert table.num_rows == 10 * len(fitted)

    head = ("augmented", "dlib_resnet")
    card = run_heads(frames, *head, splitting, SMALL, silent)
    assert card["chosen"]["images_fitted"] == len(fitted)
    history = pq.read_table(frames / "heads" / f"{card['experiment']}.history.parquet")
    assert np.isfinite(history["train_loss"].to_numpy()).all()
    drawn_with = card["augmented"]
    assert drawn_with["weights"] == card["backbones"]["dlib_resnet"]["weights"]
    assert (drawn_with["draws"], drawn_with["drawn"]) == (10, len(fitted))
    with pytest.raises(UserError, match=f"--fresh --fitted-only --folds {both}"):
        run_heads(frames, *head, TrialSettings(folds=both), SMALL, silent)
    record_file = frames / "bottleneck" / "dlib_resnet-augmented.json"
    record = json.loads(record_file.read_text())
    others = {**record["weights"], "sha256": "0" * 64}
    for part, says in (({"weights": others}, "the weights 000000"),
                       ({"frames": "others"}, "other frames"),
                       ({"draws": 9}, "has 9 draws")):  # fmt: skip
        record_file.write_text(json.dumps({**record, **part}))
        with pytest.raises(UserError, match=f"{says}.*--fresh --fitted-only --folds {one}"):
            run_heads(frames, *head, splitting, SMALL, silent)


@pytest.mark.slow
@pytest.mark.thorough
@pytest.mark.parametrize("workers", [1, 3])
def test_any_number_of_workers(
    workers: int, frames: Path, fer_ray: FerRay, fer_ray_process: FerRay
) -> None:
    command = ("bottleneck", "--out", frames, "--backbone", "dlib_resnet", "--workers", workers,
               "--set", "execution.executor=ray")  # fmt: skip
    done = fer_ray_process(*command)
    assert done.returncode == 0, done.stderr
    assert "weights: embedded" in done.stdout
    assert "computed now" in done.stdout
    again = fer_ray(*command)
    assert "all computed before" in again.stdout


def test_other_weights_require_fresh(
    frames: Path, corpus: Path, trained_mobilenet: Path, random_weights: RandomWeights,
    local_ray: int,
) -> None:  # fmt: skip
    computed(frames, corpus, random_weights("mobilenet"))
    with pytest.raises(UserError, match="untrained weights"):
        read_samples(frames / "frames", "mobilenet")
    with pytest.raises(MismatchError, match="--fresh"):
        computed(frames, corpus, trained_mobilenet)
    experiments = {"svm-linear-hog+mobilenet-random": "hog+mobilenet", "svm-linear-hog": "hog"}
    for name, feature_set in experiments.items():
        write_experiment(frames, name, feature_set)
    before = pq.read_table(frames / "bottleneck" / "mobilenet")
    with pytest.raises(UserError, match="is not a weights file of mobilenet"):
        computed(frames, corpus, random_weights("vgg16"), fresh=True)
    wish = Execution(gpus_per_worker=64)
    with pytest.raises(UserError, match="the cluster has 0 GPUs"):
        computed(frames, corpus, trained_mobilenet, fresh=True, execution=wish)
    assert pq.read_table(frames / "bottleneck" / "mobilenet").equals(before)
    assert remaining(frames) == set(experiments)  # errors lose nothing
    computed(frames, corpus, trained_mobilenet, fresh=True)
    assert remaining(frames) == {"svm-linear-hog"}  # trained on other features
    assert read_samples(frames / "frames", "mobilenet").features.shape[1] == 256


def write_experiment(out: Path, name: str, feature_set: str, **recipe: object) -> None:
    """The files of an experiment that say which features it uses."""
    table = pa.table({"feature_set": [feature_set]})
    for folder in ("trials", "predictions"):
        (out / folder).mkdir(exist_ok=True)
        kept = table.replace_schema_metadata({FIT_SETTINGS: json.dumps(recipe)})
        write_table(kept, out / folder / f"{name}.parquet")
    (out / "heads" / f"{name}.tensorboard").mkdir(parents=True)
    (out / "heads" / f"{name}.keras").touch()


def remaining(out: Path) -> set[str]:
    """Names of the experiments, which are the same in all folders."""
    names = {file.stem for file in (out / "trials").glob("*.parquet")}
    assert {file.stem for file in (out / "predictions").glob("*.parquet")} == names
    assert {file.stem for file in (out / "heads").iterdir()} == names
    return names


@pytest.mark.slow
@pytest.mark.thorough
def test_new_draws_preserve_experiments_on_plain_features(frames: Path, corpus: Path) -> None:
    for draws in (0, 1):
        computed(frames, corpus, None, "dlib_resnet", draws=draws)
    of_draws: dict[str, dict[str, object]] = {
        "head-augmented": {"head": {"draws": 10}},
        "head-search-draws": {"head_search": {"draws": 1}},
    }
    plain: dict[str, dict[str, object]] = {
        "head-search": {"head_search": {"draws": 0}},
        "svm-linear": {"kernel": "linear"},
    }
    for name, recipe in (of_draws | plain).items():
        write_experiment(frames, name, "hog+dlib_resnet", **recipe)
    write_experiment(frames, "search", "chosen", search={"feature_sets": ["hog", "dlib_resnet"]})
    write_experiment(frames, "svm-linear-hog", "hog", kernel="linear")
    computed(frames, corpus, None, "dlib_resnet", fresh=True)  # the same features
    assert remaining(frames) == {*of_draws, *plain, "search", "svm-linear-hog"}
    computed(frames, corpus, None, "dlib_resnet", draws=2, fresh=True)
    assert remaining(frames) == {*plain, "search", "svm-linear-hog"}
    record = frames / "bottleneck" / "dlib_resnet.json"
    record.write_text(json.dumps({**json.loads(record.read_text()), "key": "of others"}))
    computed(frames, corpus, None, "dlib_resnet", fresh=True)
    assert remaining(frames) == {"svm-linear-hog"}


def test_stored_nan_features_are_refused(drawn_frames: Path) -> None:
    ids = pq.read_table(drawn_frames / "frames")["image_id"]
    features = np.ones((len(ids), 128), np.float32)
    features[7, 3] = np.nan
    values = pa.FixedSizeListArray.from_arrays(pa.array(features.ravel()), 128)
    table = pa.table({"image_id": ids, "draw": pa.nulls(len(ids), pa.int16()), "features": values})
    (drawn_frames / "bottleneck" / "dlib_resnet").mkdir(parents=True)
    write_table(table, drawn_frames / "bottleneck" / "dlib_resnet" / "part-0.parquet")
    files = {"part-0.parquet": len(ids)}
    record = {
        "key": "k",
        "files": files,
        "weights": {"origin": "file", "file": "own.dat", "sha256": "0"},
    }
    write_json(record, drawn_frames / "bottleneck" / "dlib_resnet.json")
    with pytest.raises(UserError, match=r"NaN or infinite values.*own\.dat.*--fresh"):
        run_trials(drawn_frames, TrialSettings(feature_set="dlib_resnet"), SMALL, silent)


@pytest.mark.parametrize(
    ("backend", "says"),
    [("nonsense", "Set it to one of tensorflow, jax, torch"), ("torch", "pip install torch")],
)
def test_missing_backend_is_reported_first(
    backend: str, says: str, drawn_frames: Path, trained_mobilenet: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    if find_spec(backend) is not None:
        pytest.skip(f"{backend} is installed")
    monkeypatch.setenv("KERAS_BACKEND", backend)
    with pytest.raises(UserError, match=says):
        run_heads(drawn_frames, "reference", "geometry", TrialSettings(), SMALL, silent)
    with pytest.raises(UserError, match=says):
        plan_bottleneck({"settings": {}}, "mobilenet", str(trained_mobilenet))


@pytest.mark.slow
def test_changed_image_raises(
    frames: Path, corpus: Path, trained_mobilenet: Path, tmp_path: Path, local_ray: int
) -> None:
    changed = shutil.copytree(corpus, tmp_path / "changed")
    for file in changed.rglob("*.png"):
        file.write_bytes(file.read_bytes() + b"\n")
    with pytest.raises(UserError, match="differs from the extracted image") as raised:
        computed(frames, changed, trained_mobilenet, execution=ON_RAY)
    assert "Traceback" not in str(raised.value)


def test_missing_gpus_raise(frames: Path, corpus: Path, local_ray: int) -> None:
    wish = Execution(gpus_per_worker=64)
    with pytest.raises(UserError, match="the cluster has 0 GPUs"):
        computed(frames, corpus, None, "dlib_resnet", execution=wish)


@pytest.mark.slow
@pytest.mark.thorough
def test_weights_refused_by_the_network(
    frames: Path, corpus: Path, random_weights: RandomWeights, local_ray: int
) -> None:
    with pytest.raises(UserError, match="is not a weights file of mobilenet"):
        computed(frames, corpus, random_weights("vgg16"), execution=ON_RAY)


USER_ERRORS: dict[str, tuple[tuple[str, ...], str]] = {
    "maps of a network without": (("--backbone", "dlib_resnet", "--maps"), "no feature maps"),
    "some drawn, none asked for": (("--backbone", "dlib_resnet", "--fitted-only"), "add --draws"),
    "splits for nothing": (
        ("--backbone", "dlib_resnet", "--protocol", "loso"), "need --fitted-only",
    ),
    "no such file": (
        ("--backbone", "vgg16", "--weights", "no.h5"), "no.h5 does not exist",
    ),
}  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("name", USER_ERRORS)
def test_user_errors(name: str, frames: Path, fer_ray: FerRay) -> None:
    options, said = USER_ERRORS[name]
    done = fer_ray("bottleneck", "--out", frames, *options, "--workers", 1)
    assert (done.returncode, "Traceback" in done.stderr) == (2, False), done.stderr
    assert said in done.stderr
    assert not (frames / "bottleneck").exists()
