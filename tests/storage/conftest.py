"""An S3 server on this machine."""

from collections.abc import Iterator

import pytest

from fer_ray.storage.objects.object_path import ObjectPath
from tests.object_store import s3_environment
from tests.pipelines.sweeps.s3 import s3_server


@pytest.fixture(scope="session")
def server() -> Iterator[int]:
    with s3_server() as port:
        yield port


@pytest.fixture
def bucket(server: int) -> Iterator[ObjectPath]:
    """An empty bucket of that server."""
    with s3_environment(server):
        path = ObjectPath("s3://fer")
        path.remove_tree()
        yield path
