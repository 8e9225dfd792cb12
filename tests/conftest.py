"""Shared fixtures: a drawn corpus, real photographs where they are present, and a real Ray."""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pytest
from filelock import FileLock

from fer_ray.settings.root import Execution

REPO = Path(__file__).parent.parent
# Real photographs are not part of the project; tests that want them are skipped without.
PHOTOS = Path(os.environ.get("FER_RAY_PHOTOS", REPO.parent / "shared" / "data"))

FerRay = Callable[..., subprocess.CompletedProcess[str]]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Fast tests first."""
    items.sort(key=lambda item: item.get_closest_marker("slow") is not None)


@pytest.fixture(scope="session")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small drawn corpus: 10 subjects, enough to train and test on."""
    return made_once(tmp_path_factory, "corpus", partial(draw, subjects=10)) / "tree"


@pytest.fixture(scope="session")
def tiny_corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A drawn corpus of 2 subjects, for what needs images and no more."""
    return made_once(tmp_path_factory, "tiny-corpus", partial(draw, subjects=2)) / "tree"


def draw(folder: Path, subjects: int) -> None:
    from fer_ray.synthetic.corpus import draw_corpus

    draw_corpus(folder / "tree", subjects=subjects, seed=7)


def made_once(factory: pytest.TempPathFactory, name: str, make: Callable[[Path], None]) -> Path:
    """A folder for all test processes of this run, filled by the first one that asks for it."""
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
        pytest.skip("no real photographs here (set FER_RAY_PHOTOS)")
    return folder


@pytest.fixture(scope="session")
def local_ray() -> Iterator[int]:
    """Ray on this machine with two processors; the number of tasks at a time."""
    from fer_ray.execution.session import ensure_ray, ray_closed_after

    with ray_closed_after():
        yield ensure_ray(Execution(workers=2))


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 8 MiB; making one takes the rights to mount."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=8m", "tmpfs", str(folder)]
    if shutil.which("mount") is None or subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("cannot mount a file system here")
    yield folder
    subprocess.run(["umount", "--lazy", str(folder)], check=True)


@pytest.fixture(scope="session")
def fer_ray() -> FerRay:
    """Runs the command line in a process of its own."""

    def call(*arguments: object, **kwargs: object) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "fer_ray", *map(str, arguments)]
        return subprocess.run(
            command, capture_output=True, text=True, timeout=240, check=False, **kwargs
        )  # type: ignore[call-overload, no-any-return]

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
    """The run folder of a whole run on the drawn corpus, three tasks at a time.

    Made once; each test process has a copy, since commands lock the folder that they write into.
    """

    def run(folder: Path) -> None:
        out, crops = folder / "run", folder / "crops"
        done = fer_ray(
            "run", "--data", corpus, "--out", out, "--export-crops", crops, "--workers", 3
        )
        assert done.returncode == 0, done.stderr
        assert "\r" not in done.stderr  # no bar in a pipe
        assert str(out / "report" / "index.html") in done.stdout

    own = tmp_path_factory.mktemp("whole") / "own"
    shutil.copytree(made_once(tmp_path_factory, "whole", run), own)
    return own / "run"


@pytest.fixture(scope="session")
def kept_bundle(run_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle of an experiment of the whole run; not to be changed."""
    from fer_ray.pipelines.make_bundle import make_bundle

    target = tmp_path_factory.mktemp("bundle") / "model"
    make_bundle(run_dir, target, "svm-linear-reference-random")
    return target
