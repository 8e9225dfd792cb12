"""A bucket on this machine, for tests of commands."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from fer_ray.execution.guard import stop_ahead
from fer_ray.storage.objects.object_client import open_bucket
from fer_ray.storage.objects.object_path import ObjectPath
from tests.pipelines.sweeps.s3 import environment, s3_server


@contextmanager
def s3_environment(port: int, address: str = "127.0.0.1") -> Iterator[None]:
    """Let this process and its children use a server."""
    with pytest.MonkeyPatch.context() as patch:
        for name, value in environment(port, address).items():
            patch.setenv(name, value)
        forget_server()
        yield
    forget_server()


def forget_server() -> None:
    """Close clients of another server, and a child process that was started for it."""
    open_bucket.cache_clear()
    stop_ahead()


@contextmanager
def local_bucket() -> Iterator[tuple[ObjectPath, int]]:
    """Run a server with an empty bucket; yields the bucket and the port."""
    with s3_server() as port, s3_environment(port):
        yield ObjectPath("s3://fer"), port


def upload(source: Path, target: Path) -> None:
    """Copy a folder into a bucket."""
    for file in source.rglob("*"):
        if file.is_file():
            (target / file.relative_to(source)).write_bytes(file.read_bytes())
