"""One cluster on loopback for all tests of this folder."""

from collections.abc import Iterator

import pytest

from tests.cluster.head import Head
from tests.networks.conftest import random_weights, trained_mobilenet  # noqa: F401, fixtures


@pytest.fixture(scope="package")
def bare_head() -> Iterator[Head]:
    """A head without CPUs: work waits for nodes that a test adds."""
    head = Head(cpus=0)
    yield head
    head.close()


@pytest.fixture(scope="module")
def head(bare_head: Head) -> Iterator[Head]:
    """The head with one node of two CPUs."""
    bare_head.add_nodes(2)
    yield bare_head
    bare_head.remove_nodes()


@pytest.fixture
def empty_head(bare_head: Head) -> Iterator[Head]:
    """The head without other nodes; those that a test adds are removed after it."""
    yield bare_head
    bare_head.remove_nodes()
