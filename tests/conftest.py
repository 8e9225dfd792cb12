"""Shared fixtures: synthetic corpora, real photographs where available, and a local Ray."""

import contextlib
import io
import logging
import os
import shutil
import signal
import subprocess
import sys
import warnings
from collections import defaultdict
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import cv2
import pytest
from filelock import FileLock

from fer_ray.cli.main import main
from fer_ray.settings.root import Execution
from tests.patience import patience, raise_start_limits

REPO = Path(__file__).parent.parent
# Real photographs are not part of the project; tests that need them are skipped without.
PHOTOS = Path(os.environ.get("FER_RAY_PHOTOS", REPO.parent / "shared" / "data"))
# Files that take longest. Workers start them first, so that all workers finish together. Those that
# need the same fixtures as tests on clusters do not start at the same time: one would wait.
LONGEST_FIRST = (
    "tests/cluster/",
    "tests/pipelines/test_extract.py",
    "tests/pipelines/sweeps/test_faults.py",
    "tests/pipelines/sweeps/test_run.py",
    "tests/networks/test_bottleneck.py",
    "tests/networks/",
    "tests/models/",
    "tests/pipelines/",
    "tests/report/",
    "tests/execution/",
)

Completed = subprocess.CompletedProcess[str]
FerRay = Callable[..., Completed]

os.environ.update(raise_start_limits())
cv2.setNumThreads(1)  # as in the processes of jobs; cascades find other faces with several
# A shell that starts the tests in the background ignores SIGINT for them and for what they start.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Run fast tests first; on several workers, run the longest files first."""
    items.sort(key=lambda item: item.get_closest_marker("slow") is not None)
    if hasattr(config, "workerinput"):
        items.sort(key=lambda item: _rank(item.nodeid))


def _rank(nodeid: str) -> int:
    ranks = (rank for rank, name in enumerate(LONGEST_FIRST) if nodeid.startswith(name))
    return next(ranks, len(LONGEST_FIRST))


def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Distribute files in the order above; one worker runs all tests on clusters.

    A cluster takes about 15 processes, so no two of them run at a time.
    """
    from xdist.scheduler import LoadFileScheduling

    class ByFile(LoadFileScheduling):  # type: ignore[misc]
        def _split_scope(self, nodeid: str) -> str:
            scope = str(super()._split_scope(nodeid))
            return "tests/cluster" if scope.startswith("tests/cluster/") else scope

    if config.getvalue("dist") != "loadfile":
        return None
    config.option.loadscopereorder = False
    return ByFile(config, log)


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """List the skipped tests, one line per reason."""
    skipped = defaultdict(list)
    for report in terminalreporter.stats.get("skipped", ()):
        reason = str(report.longrepr[2]).removeprefix("Skipped: ")
        skipped[reason].append(report.nodeid.partition("::")[0])
    for reason, files in sorted(skipped.items()):
        names = ", ".join(sorted(set(files)))
        terminalreporter.write_line(f"NOT RUN: {len(files)} in {names}: {reason}", yellow=True)


@pytest.hookimpl(tryfirst=True)
def pytest_fixture_setup() -> None:
    """Remove the variable that names the test: child processes serve one environment only."""
    os.environ.pop("PYTEST_CURRENT_TEST", None)


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call() -> None:
    """As `pytest_fixture_setup`, for the test itself."""
    os.environ.pop("PYTEST_CURRENT_TEST", None)


@pytest.fixture(scope="session")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small synthetic corpus: 10 subjects, enough to train and test on."""
    return made_once(tmp_path_factory, "corpus", partial(draw, subjects=10)) / "tree"


@pytest.fixture(scope="session")
def tiny_corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A synthetic corpus of 2 subjects, for tests that only need images."""
    return made_once(tmp_path_factory, "tiny-corpus", partial(draw, subjects=2)) / "tree"


def draw(folder: Path, subjects: int) -> None:
    from fer_ray.synthetic.corpus import generate_corpus

    generate_corpus(folder / "tree", subjects=subjects, seed=7)


def made_once(factory: pytest.TempPathFactory, name: str, make: Callable[[Path], None]) -> Path:
    """A folder that all test processes share; the first one that needs it fills it."""
    base = factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        base = base.parent
    folder, made = base / name, base / f"{name}.made"
    with FileLock(base / f"{name}.lock"):
        if not made.exists():
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir()
            make(folder)
            made.touch()
    return folder


@pytest.fixture(scope="session")
def photos() -> Path:
    """Real photographs laid out as CK+."""
    folder = PHOTOS / "ckplus_photos"
    if not folder.is_dir():
        pytest.skip("no photographs available (set FER_RAY_PHOTOS)")
    return folder


@pytest.fixture(scope="session")
def landmarker_file() -> Path:
    """Google's `face_landmarker.task`."""
    file = PHOTOS / "weights" / "face_landmarker.task"
    if not file.is_file():
        pytest.skip("face_landmarker.task is not available (set FER_RAY_PHOTOS)")
    return file


@pytest.fixture(scope="session")
def local_ray() -> Iterator[int]:
    """Ray on this machine, started once per test process; the number of its CPUs (2)."""
    from fer_ray.execution.cluster.session import ensure_ray, ray_closed_after

    with ray_closed_after():
        yield ensure_ray(Execution(workers=2))


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 8 MiB; creating one takes the right to mount."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=8m", "tmpfs", str(folder)]
    if shutil.which("mount") is None or subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("file systems cannot be mounted")
    yield folder
    subprocess.run(["umount", "--lazy", str(folder)], check=True)


@pytest.fixture(scope="session")
def fer_ray(local_ray: int) -> FerRay:
    """Runs the command line in this process, on the Ray of the session."""
    return run_in_process


def run_in_process(*arguments: object) -> Completed:
    """Run `fer-ray` with its streams captured and the logging of a new process."""
    words, out, err, code = [str(word) for word in arguments], io.StringIO(), io.StringIO(), 0
    with (
        _default_logging(),
        warnings.catch_warnings(),
        contextlib.redirect_stdout(out),
        contextlib.redirect_stderr(err),
    ):
        try:
            main(words)
        except SystemExit as ended:
            code = int(ended.code or 0)
    return Completed(["fer-ray", *words], code, out.getvalue(), err.getvalue())


@contextlib.contextmanager
def _default_logging() -> Iterator[None]:
    """The root logger without handlers, as it is when a process starts."""
    root = logging.getLogger()
    handlers, level, root.handlers = root.handlers, root.level, []
    try:
        yield
    finally:
        root.handlers = handlers
        root.setLevel(level)


@pytest.fixture(scope="session")
def fer_ray_process() -> FerRay:
    """Runs the command line in a new process, which starts its own Ray."""

    def call(*arguments: object, **kwargs: Any) -> Completed:
        command = [sys.executable, "-m", "fer_ray", *map(str, arguments)]
        return subprocess.run(
            command, capture_output=True, text=True, timeout=patience(240), check=False, **kwargs
        )

    return call


@pytest.fixture(scope="session")
def tiny_frames(
    tiny_corpus: Path, fer_ray: FerRay, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """The frames of every image of the tiny corpus, extracted by one task at a time."""

    def extract(out: Path) -> None:
        done = fer_ray(
            "extract", "--data", tiny_corpus, "--out", out, "--frames", "all", "--workers", 1
        )
        assert done.returncode == 0, done.stderr

    return made_once(tmp_path_factory, "tiny-frames", extract) / "frames"


@pytest.fixture(scope="session")
def run_dir(corpus: Path, fer_ray: FerRay, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run folder of `fer-ray run --profile fast` on the synthetic corpus.

    Created once; each test process has a copy, since commands lock the folder that they write to.
    """

    def run(folder: Path) -> None:
        out, crops = folder / "run", folder / "crops"
        done = fer_ray(
            "run", "--data", corpus, "--out", out, "--export-crops", crops, "--profile", "fast"
        )
        assert done.returncode == 0, done.stderr
        assert "\r" not in done.stderr  # no progress bar unless on a terminal
        assert str(out / "report" / "index.html") in done.stdout

    own = tmp_path_factory.mktemp("whole") / "own"
    shutil.copytree(made_once(tmp_path_factory, "whole", run), own)
    return own / "run"


@pytest.fixture(scope="session")
def kept_bundle(run_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle of an experiment of `run_dir`; read only."""
    from fer_ray.pipelines.training.make_bundle import make_bundle

    target = tmp_path_factory.mktemp("bundle") / "model"
    make_bundle(run_dir, target, "svm-linear-reference-random")
    return target
