"""Clusters on loopback, and what the same jobs give on this machine alone."""

from collections.abc import Iterator

import pytest

from tests.cluster.head import Head, wait_until
from tests.networks.conftest import random_weights, trained_mobilenet  # noqa: F401, fixtures


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
