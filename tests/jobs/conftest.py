"""Clusters on loopback, and what the same jobs give on this machine alone."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import FerRay, made_once
from tests.deep.conftest import random_weights  # noqa: F401, a fixture
from tests.jobs.head import Head, wait_until


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


@pytest.fixture
def empty_head(bare_head: Head) -> Iterator[Head]:
    """A head that runs no tasks; the nodes that a test adds go with it."""
    yield bare_head
    while len(bare_head.nodes) > 1:
        bare_head.nodes.pop().kill()
    wait_until(lambda: bare_head.nodes_alive() == 1)


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
