import hashlib
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import psutil
import pytest
from deltalake import DeltaTable

from fer_ray.errors import StoppedError, StoreLostError
from fer_ray.execution.progress import silent
from fer_ray.execution.tasks import block_tasks
from fer_ray.execution.tasks.block_tasks import run_tasks
from fer_ray.pipelines.sweep import run_sweep
from fer_ray.pipelines.sweeps.context import StopFlag, SweepRequest
from fer_ray.settings.root import Settings
from fer_ray.sources.quality import Quality
from fer_ray.sources.streams.image_source import open_source
from fer_ray.storage.delta_store import Store
from fer_ray.vocabulary import ExitCode
from tests.patience import patience, wait_until
from tests.pipelines.sweeps.blocks import process_block
from tests.pipelines.sweeps.conftest import FAST, Swept, rows, tiny_image
from tests.pipelines.sweeps.poison import Poisoned

ON_RAY = ("--set", "execution.executor=ray")  # however few the images
SLOWLY = ("--workers", "1", "--set", "sweep.commit_rows=2", "--set", "execution.block_images=1")


@pytest.fixture
def many(tmp_path: Path, tiny_corpus: Path) -> Path:
    """Fifteen faces, five of them twice."""
    root = tmp_path / "many"
    root.mkdir()
    for number, file in enumerate(sorted(tiny_corpus.rglob("*.png"))[:15]):
        shutil.copy(file, root / f"{number}.png")
        if number < 5:
            shutil.copy(file, root / f"again{number}.png")
    return root


@pytest.fixture
def start(many: Path) -> Iterator[Callable[..., "subprocess.Popen[str]"]]:
    """Starts sweeps of `many` in separate processes."""
    started: list[subprocess.Popen[str]] = []

    def sweep(store: Path, *options: str) -> "subprocess.Popen[str]":
        command = [sys.executable, "-m", "fer_ray", "sweep", *ON_RAY, "--profile", "fast", *options]
        where = ("--source", str(many), "--store", str(store))
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
        started.append(subprocess.Popen([*command, *where], text=True, **pipes))
        return started[-1]

    yield sweep
    for process in started:
        process.kill()
        process.communicate()


def results_of(store: Path) -> int:
    folder = store / "results"
    return DeltaTable(str(folder)).count() if (folder / "_delta_log").is_dir() else 0


def wait_for_results(store: Path, count: int) -> None:
    wait_until(lambda: results_of(store) >= count, every=0.05)


@pytest.mark.slow
@pytest.mark.thorough
def test_two_simultaneous_sweeps(
    start: Callable[..., "subprocess.Popen[str]"], tmp_path: Path
) -> None:
    alone, shared = tmp_path / "alone", tmp_path / "shared"
    first, second = start(shared, *SLOWLY), start(shared, *SLOWLY)
    for sweep in (first, second):
        _, output = sweep.communicate(timeout=patience(240))
        assert sweep.returncode == 0, output
    assert start(alone).wait(240) == 0
    assert rows(shared, "images") == rows(alone, "images")
    assert rows(shared, "results") == rows(alone, "results")
    assert len(rows(shared, "images")) == 20
    assert len(rows(shared, "results")) == 15


@pytest.mark.slow
def test_sigterm_commits_and_next_sweep_resumes(
    start: Callable[..., "subprocess.Popen[str]"], many: Path, tmp_path: Path
) -> None:
    """Runs in process; tests/cluster/test_submit.py covers clusters."""
    store = tmp_path / "store"
    slowly = (*SLOWLY, "--profile", "reference", "--set", "sweep.commit_rows=3")
    stopped = start(store, *slowly, "--set", "execution.executor=in-process")
    wait_for_results(store, 3)
    stopped.send_signal(signal.SIGTERM)
    signalled = time.monotonic()
    _, output = stopped.communicate(timeout=patience(60))
    assert time.monotonic() - signalled < patience(15)
    assert stopped.returncode == ExitCode.STOPPED, output
    assert "are committed" in output
    assert "Traceback" not in output
    committed = results_of(store)
    assert 3 <= committed < 15
    assert not (store / "images").exists()  # no reader sees an incomplete sweep
    manifest = run_sweep(SweepRequest(str(many), str(store), Settings(), silent))
    assert manifest["described"] == 15 - committed
    assert len(rows(store, "images")) == 20
    assert results_of(store) == 15


@pytest.mark.slow
@pytest.mark.thorough
@pytest.mark.parametrize(
    ("number", "code"),
    [(signal.SIGTERM, ExitCode.TERMINATED), (signal.SIGINT, ExitCode.INTERRUPTED)],
)
def test_signal_while_ray_starts(
    start: Callable[..., "subprocess.Popen[str]"], tmp_path: Path, number: int, code: int
) -> None:
    sweep = start(tmp_path / "store", "--log-format", "json")
    signal_while_ray_starts(sweep, number)
    _, output = sweep.communicate(timeout=patience(90))
    assert sweep.returncode == code, output
    assert "Traceback" not in output


def signal_while_ray_starts(process: "subprocess.Popen[str]", number: int) -> None:
    def starting() -> bool:
        children = psutil.Process(process.pid).children()
        return any("gcs_server" in child.name() for child in children)

    wait_until(starting, every=0.05)
    process.send_signal(number)


@pytest.mark.slow
@pytest.mark.thorough
def test_sigterm_of_extract_while_ray_starts(tiny_corpus: Path, tmp_path: Path) -> None:
    job = [
        sys.executable,
        "-m",
        "fer_ray",
        "extract",
        *ON_RAY,
        "--data",
        tiny_corpus,
        "--out",
        tmp_path,
    ]
    extract = subprocess.Popen(
        [str(word) for word in job], stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    signal_while_ray_starts(extract, signal.SIGTERM)
    _, output = extract.communicate(timeout=patience(90))
    assert extract.returncode == ExitCode.TERMINATED, output
    assert "Traceback" not in output


@pytest.mark.slow
def test_resumed_sweep_reads_nothing_twice(many: Path, store: Path, local_ray: int) -> None:
    stop = StopFlag()
    settings = Settings(extract=FAST)

    def until_read(*_: object) -> None:
        stop.set()

    with pytest.raises(StoppedError):
        run_sweep(
            SweepRequest(
                str(many), str(store), settings, at_the_end_of("process", until_read), stop=stop
            )
        )
    assert DeltaTable(str(store / "readings")).count() == 20
    manifest = run_sweep(SweepRequest(str(many), str(store), settings, silent))
    assert (manifest["read"], manifest["described"], manifest["planned"]["new"]["images"]) == (
        0,
        0,
        20,
    )
    assert len(rows(store, "images")) == 20
    assert DeltaTable(str(store / "readings")).count() == 0


@contextmanager
def _counting(step: str, target: str, then: Callable[[], None]) -> Iterator[Callable[..., None]]:
    done = 0

    def advance(count: int, *_: object) -> None:
        nonlocal done
        done += count
        if step == target and done == 20:
            then()

    yield advance


def at_the_end_of(target: str, then: Callable[[], None]) -> Any:
    """A progress display that calls `then` once a step has done all 20 images."""
    return lambda step, unit, total: _counting(step, target, then)


def test_item_of_dying_workers_is_split(local_ray: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(block_tasks, "LOSSES", 1)
    results = run_tasks(
        _die_on_b, iter([["a", "b"]]), 1, lambda: False, lambda item: [[one] for one in item],
        lambda item: ("lost", item), lambda: None,
    )  # fmt: skip
    assert sorted(results) == [("alive", ["a"]), ("lost", ["b"])]


def _die_on_b(item: list[str]) -> tuple[str, list[str]]:
    if "b" in item:
        os.kill(os.getpid(), signal.SIGKILL)
    return "alive", item


def test_images_that_no_worker_survives_are_crashed(source: Path, tmp_path: Path) -> None:
    opened, known = open_source(str(source)), "1" * 64
    unread = process_block(opened, tmp_path / "unread", ["b.png"], give_up=True)
    assert (unread.results, [row["status"] for row in unread.outcomes]) == ([], ["crashed"])
    planned = process_block(opened, tmp_path / "planned", ["b.png"], [known], give_up=True)
    assert [(row["sha256"], row["status"]) for row in planned.results] == [(known, "crashed")]
    assert planned.outcomes == planned.replacements == []
    again = process_block(
        opened, tmp_path / "again", ["b.png"], [known], retried=True, give_up=True
    )
    assert [row["status"] for row in again.replacements] == ["crashed"]
    assert (again.results, again.result.first) == ([], [])  # it says nothing that it fails again


def test_full_disk_then_resume(small_disk: Path, source: Path, local_ray: int) -> None:
    store = small_disk / "store"
    sweep = partial(
        run_sweep, SweepRequest(str(source), str(store), Settings(extract=FAST), silent)
    )
    sweep()
    before = rows(store, "images")
    tiny_image(source / "new.png", seed=5)
    film = small_disk / "film"
    with pytest.raises(OSError, match="No space left"):
        film.write_bytes(bytes(2**24))
    with pytest.raises(StoreLostError, match="Committed results are not lost") as raised:
        sweep()
    assert "Traceback" not in str(raised.value)
    assert rows(store, "images") == before
    film.unlink()
    assert sweep()["described"] == 1
    assert len(rows(store, "images")) == len(before) + 1


def test_reader_keeps_its_version_during_publication(
    swept: Swept, source: Path, store: Path
) -> None:
    swept()
    before = Store(str(store)).snapshot("images")
    reading = before.batches(["path", "status"])
    first = next(reading)
    for file in source.rglob("*.png"):
        tiny_image(file, seed=len(file.name))
    seen: list[int] = []
    watched = threading.Event()

    def watch() -> None:
        while not watched.is_set():
            seen.append(len(rows(store, "images")))

    watcher = threading.Thread(target=watch)
    watcher.start()
    swept()
    watched.set()
    watcher.join()
    assert set(seen) == {7}
    assert first.num_rows + sum(batch.num_rows for batch in reading) == 7
    assert before.version < Store(str(store)).snapshot("images").version


def test_source_changes_while_listed(tmp_path: Path) -> None:
    for number in range(20):
        tiny_image(tmp_path / f"folder{number}" / "one.png", seed=number)
    listing = open_source(str(tmp_path)).entries(Quality())
    first = next(listing).path
    for number in range(20):
        if not first.startswith(f"folder{number}/"):
            shutil.rmtree(tmp_path / f"folder{number}")
    assert list(listing) == []


def test_image_changes_after_planning(source: Path, faces: list[Path], tmp_path: Path) -> None:
    content = hashlib.sha256(faces[0].read_bytes()).hexdigest()
    paths = ["day0/face0.png", "gone.png"]
    processed = process_block(
        open_source(str(source)), tmp_path, paths, ["0" * 64, "1" * 64],
        claim=lambda owner, contents: set(contents), steps=Poisoned(FAST),
    )  # fmt: skip
    assert [row["sha256"] for row in processed.results] == [content]
    changed, gone = processed.outcomes
    assert (changed["sha256"], changed["planned"]) == (content, "0" * 64)
    assert (gone["sha256"], gone["status"]) == (None, "unreadable")
    assert "No such file" in gone["error"]
    assert processed.result.missing == ["gone.png"]
    assert processed.readings == []


def test_unwritable_store_then_resume(swept: Swept, source: Path, store: Path) -> None:
    from fer_ray.errors import StoreLostError

    store.write_text("a file, where the store should be")
    with pytest.raises(StoreLostError, match="cannot be read or written"):
        swept()
    store.unlink()
    assert swept()["published"]["put"] == 7
