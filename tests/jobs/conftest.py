"""Clusters on loopback, and what the same jobs give on this machine alone."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import FerRay, made_once
from tests.jobs.head import Head


@pytest.fixture(scope="module")
def head() -> Iterator[Head]:
    """A head with two processors."""
    head = Head(processors=2)
    yield head
    head.close()


@pytest.fixture(scope="module")
def bare_head() -> Iterator[Head]:
    """A head without processors: work waits for nodes that a test adds."""
    head = Head(processors=0)
    yield head
    head.close()


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
