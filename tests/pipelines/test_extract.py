"""Extraction, with and without Ray: equal to a naive loop, resumable, consistent."""

import os
import shutil
import signal
import subprocess
import sys
from contextlib import nullcontext
from pathlib import Path

import cv2
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from benchmarks.naive_study import find_face, find_landmarks, load_cascades, load_predictor
from fer_ray.errors import MismatchError
from fer_ray.faces.crops import crop_face
from fer_ray.pipelines import run
from fer_ray.pipelines.extraction import extract as extraction
from fer_ray.pipelines.extraction import extraction_plan
from fer_ray.settings.extraction import Selection
from fer_ray.settings.loading import load_settings
from fer_ray.settings.root import Execution, Settings
from fer_ray.sources.datasets.listing import list_source
from fer_ray.storage.files import read_json
from fer_ray.storage.locks import lock_folder
from fer_ray.storage.staging import StagedRows
from tests.images import read_gray
from tests.patience import patience, wait_until

NO_BAR = lambda *_: nullcontext(lambda _: None)  # noqa: E731
FAST = ("profile=fast", "execution.executor=in-process", "execution.workers=1")


def frames_of(data: Path, out: Path, *overrides: str, fresh: bool = False) -> pa.Table:
    with lock_folder(out):
        run.run_extract(data, out, load_settings(None, overrides), NO_BAR, fresh)
    return pq.read_table(out / "frames")


@pytest.fixture(scope="module")
def extracted(tiny_corpus: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run folder with the frames of the tiny corpus under the reference profile."""
    out = tmp_path_factory.mktemp("run")
    frames_of(tiny_corpus, out)
    return out


@pytest.mark.slow
@pytest.mark.parametrize(
    "execution",
    [
        ("execution.block_images=5", "execution.workers=1", "execution.executor=in-process"),
        ("execution.block_images=1000", "execution.executor=ray"),
    ],
)
def test_rows_are_independent_of_blocks_and_workers(
    tiny_corpus: Path, tmp_path: Path, extracted: Path, local_ray: int, execution: tuple[str, ...]
) -> None:
    frames = pq.read_table(extracted / "frames")
    assert frames_of(tiny_corpus, tmp_path, *execution).equals(frames)


@pytest.mark.slow
def test_rows_are_sorted_unique_and_add_up(extracted: Path) -> None:
    record = read_json(extracted / "extract.json")
    assert record is not None
    ids = pq.read_table(extracted / "frames")["image_id"].to_pylist()
    assert ids == sorted(set(ids))
    assert sum(record["counts"].values()) == record["data"]["selected"] == len(ids)
    assert record["data"]["synthetic"] is True
    assert record["data"]["modes"].keys() <= {"L", "RGB"}


@pytest.mark.slow
@pytest.mark.thorough
def test_cascades_on_photographs_match_the_study(
    photos: Path, tmp_path: Path, local_ray: int
) -> None:
    """432 first and last frames: 403 decided by default, 6 by alt2, 23 without a face, 388 ok."""
    table = frames_of(photos, tmp_path, "extract.selection.frames=first-and-peak")
    record = read_json(tmp_path / "extract.json")
    assert record is not None
    assert table.num_rows == 432
    assert record["detectors"] == {"default": 403, "alt2": 6}
    assert record["counts"]["ok"] == 388
    assert sum(n for status, n in record["counts"].items() if status.endswith("face")) == 23


@pytest.mark.slow
def test_photographs_match_the_naive_procedure(photos: Path, tmp_path: Path) -> None:
    import dlib

    listed = list_source(photos, Selection(frames="first-and-peak")).table["path"].to_pylist()
    for path in listed[::48]:
        copy = tmp_path / "some" / path
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(photos / path, copy)
    table = frames_of(tmp_path / "some", tmp_path / "out", "extract.selection.frames=all")
    assert table.num_rows == len(listed[::48])
    assert set(table["status"].to_pylist()) >= {"ok", "no_face"}
    cascades, predictor = load_cascades(), load_predictor()
    detector = dlib.get_frontal_face_detector()
    for row in table.to_pylist():
        naive = find_face(photos / row["path"], cascades)
        if naive.crop is not None:
            crop = crop_face(read_gray(photos / row["path"]), row["box_xywh"])
            assert np.array_equal(crop, naive.crop)
        assert (row["detector"], row["box_xywh"] and tuple(row["box_xywh"])) == (
            naive.cascade,
            naive.box_xywh,
        )
        points = None
        if naive.crop is not None:
            points = find_landmarks(naive.crop, detector, predictor)
        expected = np.ravel(points).tolist() if points else None
        assert row["landmarks_xy"] == expected


def start(data: Path, out: Path, executor: str) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "fer_ray", "extract", "--data", data, "--out", out]
    settings = ["--frames", "first-and-peak", "--set", "execution.block_images=4", "--workers", "2"]
    settings += ["--set", f"execution.executor={executor}"]
    return subprocess.Popen(
        [*map(str, command), *settings], stdout=subprocess.DEVNULL, start_new_session=True
    )


def wait_for_blocks(out: Path, count: int) -> None:
    wait_until(lambda: len(list(out.glob("frames.partial/*/[0-9]*.parquet"))) >= count, every=0.05)


@pytest.mark.slow
@pytest.mark.parametrize(  # SIGTERM: tests/cluster/test_submit.py
    ("by", "executor"),
    [
        (signal.SIGKILL, "in-process"),
        pytest.param(signal.SIGKILL, "ray", marks=pytest.mark.thorough),
        pytest.param(signal.SIGINT, "ray", marks=pytest.mark.thorough),
        pytest.param(signal.SIGINT, "in-process", marks=pytest.mark.thorough),
    ],
)
def test_stopped_job_resumes(
    tiny_corpus: Path, tmp_path: Path, by: signal.Signals, executor: str
) -> None:
    out = tmp_path / "run"
    process = start(tiny_corpus, out, executor)
    wait_for_blocks(out, 2)
    if by is signal.SIGKILL:
        os.killpg(process.pid, by)
    else:
        process.send_signal(by)
    code = process.wait(timeout=patience(60))
    assert code == {signal.SIGKILL: -9, signal.SIGINT: 130}[by]
    assert not (out / "frames").exists()
    assert not (out / "extract.json").exists()
    kept = len(list(out.glob("frames.partial/*/[0-9]*.parquet")))
    settings = ("extract.selection.frames=first-and-peak", *FAST[1:])
    resumed = frames_of(tiny_corpus, out, *settings)
    record = read_json(out / "extract.json")
    assert record is not None
    assert record["timings"]["images_done"] <= resumed.num_rows - 4 * (kept - 1)
    assert resumed.equals(frames_of(tiny_corpus, tmp_path / "undisturbed", *settings))
    assert not (out / "frames.partial").exists()


@pytest.mark.slow
def test_finished_extraction_is_not_repeated(
    tiny_corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = frames_of(tiny_corpus, tmp_path, *FAST)
    for name in ("ensure_ray", "extract_in_process"):
        monkeypatch.setattr(extraction, name, lambda *_: pytest.fail("an image was extracted"))
    assert frames_of(tiny_corpus, tmp_path, *FAST).equals(first)


@pytest.mark.slow
def test_changed_settings_and_files_are_detected(tiny_corpus: Path, tmp_path: Path) -> None:
    data, out = tmp_path / "tree", tmp_path / "run"
    shutil.copytree(tiny_corpus, data)
    frames_of(data, out, *FAST)
    with pytest.raises(MismatchError, match=r"extract\.crop\.min_neighbors was 10 and is now 4"):
        frames_of(data, out, *FAST, "extract.crop.min_neighbors=4")
    shutil.copytree(data, tmp_path / "copy", copy_function=shutil.copyfile)  # with other times
    with pytest.raises(MismatchError, match="the source was"):
        frames_of(tmp_path / "copy", out, *FAST)
    assert pq.read_table(out / "frames").num_rows > 0  # nothing was lost
    changed = frames_of(data, out, *FAST, "extract.features.sets=[reference]", fresh=True)
    assert "features_landmarks" not in changed.column_names


@pytest.mark.slow
def test_only_new_contents_are_extracted(tiny_corpus: Path, tmp_path: Path) -> None:
    data, out = tmp_path / "tree", tmp_path / "run"
    shutil.copytree(tiny_corpus, data)
    options = ("extract.selection.layout=images", *FAST)
    first = frames_of(data, out, *options)
    files = sorted(data.rglob("*.png"))
    files[0].unlink()
    cv2.imwrite(str(files[1]), cv2.imread(str(files[1]))[:, ::-1])
    files[2].rename(data / "renamed.png")
    shutil.copy(files[3], data / "twin.png")
    files[4].touch()
    (data / "broken.png").write_bytes(b"no image")
    updated = frames_of(data, out, *options)
    record = read_json(out / "extract.json")
    assert record is not None
    assert record["timings"]["images_done"] == 2
    assert updated.num_rows == first.num_rows + 1
    assert updated.equals(frames_of(data, tmp_path / "other", *options))
    for file in data.rglob("*.png"):
        file.touch()
    frames_of(data, out, *options)
    record = read_json(out / "extract.json")
    assert record is not None
    assert record["timings"]["images_done"] == 1  # what failed is tried again


def test_known_contents_take_labels_of_the_new_listing(tiny_corpus: Path, tmp_path: Path) -> None:
    data, out = tmp_path / "tree", tmp_path / "run"
    options = ("execution.executor=in-process", "profile=fast")
    file = min(tiny_corpus.rglob("*.png"))
    for emotion in ("happy", "fear"):
        (data / emotion).mkdir(parents=True)
    shutil.copy(file, data / "happy" / "face.png")
    frames_of(data, out, *options)
    (data / "happy" / "face.png").rename(data / "fear" / "face.png")
    [row] = frames_of(data, out, *options).to_pylist()
    assert (row["emotion"], row["image_id"], row["status"]) == ("fear", "fear/face.png", "ok")
    record = read_json(out / "extract.json")
    assert record is not None
    assert record["timings"]["images_done"] == 0


def test_incomplete_frames_are_not_finished(tiny_corpus: Path, tmp_path: Path) -> None:
    (tmp_path / "frames").mkdir()
    (tmp_path / "frames" / "part-00000.parquet").write_bytes(b"PAR1 half")
    planned = extraction_plan.plan_extraction(
        tiny_corpus, tmp_path, Settings().extract, fresh=False
    )
    assert planned.finished is None


@pytest.mark.slow
def test_damaged_frames_are_extracted_again(tiny_corpus: Path, tmp_path: Path) -> None:
    whole = frames_of(tiny_corpus, tmp_path, *FAST)
    [part] = (tmp_path / "frames").glob("*.parquet")
    part.write_bytes(part.read_bytes()[:900])
    assert frames_of(tiny_corpus, tmp_path, *FAST).equals(whole)
    part.unlink()
    assert frames_of(tiny_corpus, tmp_path, *FAST).equals(whole)


def test_other_selection_is_not_another_source(tiny_corpus: Path, tmp_path: Path) -> None:
    settings = Settings().extract
    plan = extraction_plan.plan_extraction(tiny_corpus, tmp_path, settings, fresh=False)
    selection = settings.selection.model_copy(update={"frames": "all"})
    before = {
        "fingerprint": "of all frames",
        "source_digest": "of all frames",
        "settings": settings.model_copy(update={"selection": selection}).model_dump(mode="json"),
    }
    changes = extraction_plan.describe_changes(plan, before)
    assert changes == ["extract.selection.frames was all and is now study"]


def test_fingerprint_ignores_execution_settings(tiny_corpus: Path, tmp_path: Path) -> None:
    one = extraction_plan.plan_extraction(tiny_corpus, tmp_path, Settings().extract, fresh=False)
    other = Settings(execution=Execution(workers=1, block_images=3)).extract
    assert (
        extraction_plan.plan_extraction(tiny_corpus, tmp_path, other, fresh=False).fingerprint
        == one.fingerprint
    )


@pytest.mark.parametrize("size", [pytest.param(3, marks=pytest.mark.thorough), 12])
def test_blocks_have_the_requested_size(
    tiny_corpus: Path, tmp_path: Path, local_ray: int, size: int
) -> None:
    planned = extraction_plan.plan_extraction(
        tiny_corpus, tmp_path, load_settings(None, ("profile=fast",)).extract, False
    )
    staged = StagedRows(tmp_path / "kept")
    execution = Execution(block_images=size, executor="ray")
    task = extraction.extraction_task(planned, staged)
    count = extraction.extract_missing(planned, task, execution, lambda _: None)
    kept = sorted(pq.read_metadata(file).num_rows for file in staged.folder.rglob("*.parquet"))
    assert kept == sorted(min(size, count - start) for start in range(0, count, size))
