"""Extraction of blocks with and without Ray: faulty files cost only themselves."""

import ctypes
import os
import signal
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from fer_ray.errors import SourceLostError, UserError
from fer_ray.execution.chain import (
    extract_in_process,
    extract_meanwhile,
    extract_on_ray,
    runs_in_process,
)
from fer_ray.execution.extract_block import ExtractBlock, extraction_schema
from fer_ray.execution.tasks import block_tasks
from fer_ray.execution.tasks.block_sizes import split_blocks
from fer_ray.features.image_steps import ImageSteps
from fer_ray.settings.extraction import Decode, ExtractSettings, Landmarks, Selection
from fer_ray.settings.root import Execution, Settings
from fer_ray.sources.datasets.listing import list_source
from fer_ray.sources.decoding import Decoded
from fer_ray.storage.staging import StagedRows
from tests.patience import wait_until

FAST = ExtractSettings.model_validate(
    Settings.model_validate({"profile": "fast"}).extract.model_dump()
)
LIMITS = Execution(workers=2, image_seconds=2)


class Poisoned(ImageSteps):
    """Extracts images, except that those with certain names crash or never finish."""

    def decode_image(self, image: Path, limits: Decode) -> Decoded:
        if "crash" in image.name:
            ctypes.string_at(0)
        if "sleep" in image.name:
            time.sleep(3600)
        return super().decode_image(image, limits)


@pytest.fixture
def source(tiny_corpus: Path, tmp_path: Path) -> Path:
    """A folder with six images, of which two are faulty."""
    folder = tmp_path / "source"
    folder.mkdir()
    names = ("a.png", "b-crash.png", "c.png", "d-sleep.png", "e.png", "f.png")
    files = sorted(tiny_corpus.rglob("*.png"))
    for name, file in zip(names, files, strict=False):
        (folder / name).write_bytes(file.read_bytes())
    return folder


def extract(source: Path, folder: Path, on_ray: bool, extractor: type = Poisoned) -> pa.Table:
    listing = list_source(source, Selection(frames="all"))
    staged = StagedRows(folder / "staged")
    staged.folder.mkdir(parents=True)
    schema = extraction_schema(FAST)
    task = ExtractBlock(extractor(FAST), source, staged, schema)
    blocks = split_blocks(listing.with_sizes(), staged, 4)
    counts: Iterator[int] = (
        extract_on_ray(blocks, task, LIMITS) if on_ray else extract_in_process(blocks, task, LIMITS)
    )
    assert sum(counts) == listing.table.num_rows
    staged.assemble(folder / "frames", schema)
    return pq.read_table(folder / "frames")


@pytest.mark.parametrize("on_ray", [False, pytest.param(True, marks=pytest.mark.thorough)])
def test_faulty_files_cost_only_themselves(
    source: Path, tmp_path: Path, local_ray: int, on_ray: bool
) -> None:
    rows = extract(source, tmp_path, on_ray)
    statuses = dict(zip(rows["path"].to_pylist(), rows["status"].to_pylist(), strict=True))
    assert statuses.pop("b-crash.png") == "crashed"
    assert statuses.pop("d-sleep.png") == "timed_out"
    assert set(statuses.values()) == {"ok"}
    crashed = rows.filter(pa.compute.equal(rows["status"], "crashed")).to_pylist()[0]
    assert crashed["error"] == "died of SIGSEGV"
    assert crashed["features_hog"] is None


class KillsWorker(ImageSteps):
    """Extracts images; one with a certain name kills the worker of its child process."""

    def decode_image(self, image: Path, limits: Decode) -> Decoded:
        if "crash" in image.name:
            os.kill(os.getppid(), signal.SIGKILL)
        return super().decode_image(image, limits)


@pytest.mark.thorough
@pytest.mark.slow
def test_image_that_no_worker_survives_is_crashed(
    source: Path, tmp_path: Path, local_ray: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(block_tasks, "LOSSES", 1)
    rows = extract(source, tmp_path, True, KillsWorker)
    crashed = [row for row in rows.to_pylist() if row["status"] != "ok"]
    assert [(row["path"], row["status"]) for row in crashed] == [("b-crash.png", "crashed")]
    assert crashed[0]["error"] == "its worker died repeatedly"
    assert rows.num_rows == 6


@pytest.mark.thorough
def test_rows_are_equal_with_and_without_ray(source: Path, tmp_path: Path, local_ray: int) -> None:
    rows = [extract(source, tmp_path / str(on_ray), on_ray, ImageSteps) for on_ray in (0, 1)]
    assert rows[0].equals(rows[1])
    assert np.isfinite(rows[0]["features_hog"].combine_chunks().flatten().to_numpy()).all()


def test_blocks_are_extracted_while_ray_starts(source: Path, tmp_path: Path) -> None:
    listing, staged = list_source(source, Selection(frames="all")), StagedRows(tmp_path / "staged")
    staged.folder.mkdir()
    task = ExtractBlock(ImageSteps(FAST), source, staged, extraction_schema(FAST))
    blocks = split_blocks(listing.with_sizes(), staged, 1, most=5)
    with extract_meanwhile(blocks, task, LIMITS) as counts:
        wait_until(lambda: len(staged.spans()) >= 2)
    statuses = sum(counts, Counter[str]())
    assert statuses.total() == len(staged.spans()) >= 2
    left = staged.missing_positions(listing.table.num_rows)
    for _ in extract_in_process(split_blocks(listing.with_sizes(), staged, 4), task, LIMITS):
        pass
    assert len(left) == 6 - statuses.total() > 0
    staged.require_all(6)


def test_failing_start_of_ray_keeps_finished_blocks(source: Path, tmp_path: Path) -> None:
    listing, staged = list_source(source, Selection(frames="all")), StagedRows(tmp_path / "staged")
    task = ExtractBlock(ImageSteps(FAST), source, staged, extraction_schema(FAST))
    blocks = split_blocks(listing.with_sizes(), staged, 1)

    def interrupted_start() -> None:
        with extract_meanwhile(blocks, task, LIMITS):
            wait_until(lambda: len(staged.spans()) >= 1)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted_start()
    rows = [pq.read_table(file) for _, _, file in staged.spans()]
    assert {status for table in rows for status in table["status"].to_pylist()} == {"ok"}


class Unmounts(ImageSteps):
    """Removes a folder just before one of its images is read."""

    def decode_image(self, image: Path, limits: Decode) -> Decoded:
        if "crash" in image.name:
            image.parent.rename(image.parent.with_name("elsewhere"))
        return super().decode_image(image, limits)


def test_lost_source_ends_the_job(source: Path, tmp_path: Path) -> None:
    with pytest.raises(SourceLostError, match="no longer exists"):
        extract(source, tmp_path, False, Unmounts)
    assert not (tmp_path / "frames").exists()


class UnmountsFolder(ImageSteps):
    """Empties a folder just before one of its images is read."""

    def decode_image(self, image: Path, limits: Decode) -> Decoded:
        if image.parent.name == "mounted" and image.exists():
            image.rename(image.parent.with_name("elsewhere"))
        return super().decode_image(image, limits)


def test_lost_folder_ends_the_job(source: Path, tmp_path: Path) -> None:
    mounted = source / "mounted"
    mounted.mkdir()
    (source / "b-crash.png").rename(mounted / "b.png")
    with pytest.raises(SourceLostError, match="mounted no longer exists or is empty"):
        extract(source, tmp_path, False, UnmountsFolder)


def test_image_in_a_folder_that_never_existed_is_unreadable(source: Path, tmp_path: Path) -> None:
    (source / "labels.csv").write_text("path,label\na.png,happy\nnowhere/b.png,happy\n")
    rows = extract(source, tmp_path, False, ImageSteps)
    assert "unreadable" in rows["status"].to_pylist()


def test_missing_model_is_a_user_error(source: Path, tmp_path: Path) -> None:
    settings = FAST.model_copy(update={"landmarks": Landmarks(file=str(tmp_path / "no.dat"))})
    listing = list_source(source, Selection(frames="all"))
    staged = StagedRows(tmp_path / "staged")
    task = ExtractBlock(ImageSteps(settings), source, staged, extraction_schema(settings))
    blocks = split_blocks(listing.with_sizes(), staged, 4)
    with pytest.raises(UserError, match=r"no\.dat"):
        list(extract_in_process(blocks, task, LIMITS))
    with pytest.raises(UserError, match=r"no\.dat"), extract_meanwhile(blocks, task, LIMITS):
        pass


@pytest.mark.parametrize(
    ("execution", "images", "address", "expected"),
    [
        (Execution(), 2_000, None, True),
        (Execution(), 2_001, None, False),
        (Execution(), 1, "127.0.0.1:6379", False),
        (Execution(executor="ray"), 1, None, False),
        (Execution(executor="in-process"), 10_000, "127.0.0.1:6379", True),
    ],
)
def test_few_images_run_in_process(
    execution: Execution,
    images: int,
    address: str | None,
    expected: bool,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    if address:
        monkeypatch.setenv("RAY_ADDRESS", address)
    assert runs_in_process(execution, images) is expected
