"""Source and store on S3: a local server of its protocol, behind a proxy with faults."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import cv2
import numpy as np
import pyarrow as pa
import pytest
from deltalake import DeltaTable
from pyarrow import fs

from fer_ray.errors import SourceLostError
from fer_ray.execution.progress import silent
from fer_ray.pipelines.sweep import run_sweep
from fer_ray.pipelines.sweeps.context import SweepRequest
from fer_ray.settings.root import Settings
from fer_ray.sources.quality import Quality
from fer_ray.sources.streams.image_source import open_source
from fer_ray.storage.delta_store import ConflictError, Store
from fer_ray.vocabulary import ExitCode
from tests.conftest import FerRay
from tests.patience import patience
from tests.pipelines.sweeps.conftest import FAST, Swept, append, rows
from tests.pipelines.sweeps.s3 import environment, faulty_proxy, s3_server

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

SCHEMA = pa.schema([pa.field("path", pa.string())])


@pytest.fixture(scope="module")
def server() -> Iterator[int]:
    with s3_server() as port:
        yield port


@pytest.fixture
def client(server: int, monkeypatch: pytest.MonkeyPatch) -> fs.FileSystem:
    for name, value in environment(server).items():
        monkeypatch.setenv(name, value)
    filesystem, _ = fs.FileSystem.from_uri("s3://fer/")
    return filesystem


def swept_through(port: int, *options: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "fer_ray", "sweep", "--profile", "fast"]
    where = ("--source", "s3://fer/dump", "--store", "s3://fer/store", "--workers", "2")
    return subprocess.run(
        [*command, *where, *options], env={**os.environ, **environment(port)},
        capture_output=True, text=True, timeout=patience(300), check=False,
    )  # fmt: skip


@pytest.mark.thorough
def test_faulty_s3_equals_folder(
    client: fs.FileSystem, server: int, swept: Swept, source: Path, store: Path
) -> None:
    fs.copy_files(str(source), "fer/dump", destination_filesystem=client)
    swept()
    with faulty_proxy(server, share=0.04, seed=1) as (port, done):
        first = swept_through(port)
        assert first.returncode == 0, first.stderr
    again = run_sweep(
        SweepRequest("s3://fer/dump", "s3://fer/store", Settings(extract=FAST), silent)
    )
    assert done["refused"] + done["hung"] + done["slow"] >= 5, done
    assert again["planned"]["same"]["images"] == 7
    assert again["read"] == again["described"] == 0
    for table in ("images", "results"):
        found: Any = DeltaTable(f"s3://fer/store/{table}").to_pyarrow_table()
        drop = {"sweep", "listed_ns", "mtime_ns"} & set(found.column_names)
        local = sorted(map(repr, found.drop_columns(list(drop)).to_pylist()))
        assert local == sorted(map(repr, rows(store, table)))


def test_second_writer_on_s3_conflicts(client: fs.FileSystem) -> None:
    opened = Store("s3://fer/two")
    table = pa.table({"path": ["a.png"]}, schema=SCHEMA)
    append(opened.snapshot("images"), opened, table)
    first, second = opened.snapshot("images"), opened.snapshot("images")
    append(first, opened, table)
    with pytest.raises(ConflictError):
        append(second, opened, table)
    assert opened.snapshot("images").table.count() == 2


def test_missing_bucket(client: fs.FileSystem, fer_ray: FerRay) -> None:
    missing = fer_ray("sweep", "--source", "s3://fer/nothing", "--store", "s3://fer/store")
    assert missing.returncode == ExitCode.SOURCE_LOST
    assert "does not exist" in missing.stderr
    assert "Traceback" not in missing.stderr


def test_keys_with_empty_segments(client: fs.FileSystem) -> None:
    bucket = boto3.client("s3")
    for key in ("odd/a//b.png", "odd//c.png", "odd/d.png", "odd/e/f.png"):
        bucket.put_object(Bucket="fer", Key=key, Body=b"1")
    quality = Quality()
    found = sorted(entry.path for entry in open_source("s3://fer/odd").entries(quality))
    assert found == ["d.png", "e/f.png"]
    [irregularity] = quality.records()
    assert (irregularity["kind"], irregularity["count"]) == ("unaddressable", 2)


@pytest.mark.thorough
def test_archived_object_is_retried(client: fs.FileSystem, store: Path) -> None:
    bucket = boto3.client("s3")
    content = cv2.imencode(".png", np.zeros((24, 24), np.uint8))[1].tobytes()
    for name, kind in (("a", "STANDARD"), ("b", "GLACIER"), ("c", "STANDARD")):
        where = {"Bucket": "fer", "Key": f"cold/{name}.png"}
        bucket.put_object(**where, Body=content, StorageClass=kind)
    first, again = (
        run_sweep(SweepRequest("s3://fer/cold", str(store), Settings(extract=FAST), silent))
        for _ in range(2)
    )
    assert first["statuses"] == {"no_face": 2, "unreadable": 1}
    planned = {kind: work["images"] for kind, work in again["planned"].items()}
    assert planned == {"same": 2, "failed": 1}


def test_deleted_object_is_not_a_lost_source(client: fs.FileSystem) -> None:
    with client.open_output_stream("fer/few/one.png") as opened:
        opened.write(b"1")
    found = open_source("s3://fer/few")
    assert [entry.path for entry in found.entries(Quality())] == ["one.png"]
    client.delete_file("fer/few/one.png")
    with pytest.raises(FileNotFoundError):
        found.read("one.png")
    with pytest.raises(SourceLostError):
        open_source("s3://no-such-bucket/few")
