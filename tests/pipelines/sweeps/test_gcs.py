"""A source on Google Cloud Storage: a server of its JSON protocol on loopback.

Stores are not tested, since delta-rs uses the XML protocol, which this server does not support.
"""

import subprocess
import sys
import time
from collections.abc import Iterator
from http.client import HTTPConnection
from pathlib import Path
from urllib.parse import parse_qs, quote, urlsplit

import pytest
from pyarrow import fs

from fer_ray.errors import SourceLostError
from fer_ray.execution.progress import silent
from fer_ray.pipelines.sweep import run_sweep
from fer_ray.pipelines.sweeps.context import SweepRequest
from fer_ray.settings.root import Settings
from fer_ray.settings.sweeping import SweepSettings
from fer_ray.sources.quality import Quality
from fer_ray.sources.streams.image_source import open_source
from tests.patience import patience
from tests.pipelines.sweeps.conftest import FAST, Swept, rows
from tests.pipelines.sweeps.s3 import free_port

pytestmark = pytest.mark.slow


def uri_of(port: int) -> str:
    options = "scheme=http&retry_limit_seconds=2"
    return f"gs://anonymous@fer/dump?endpoint_override=127.0.0.1:{port}&{options}"


@pytest.fixture
def bucket(source: Path) -> Iterator[str]:
    """The URI of a bucket with the files of `source`."""
    port = free_port()
    command = [sys.executable, "-m", "gcp_storage_emulator", "start", "--port", str(port)]
    quiet = subprocess.DEVNULL
    server = subprocess.Popen(
        [*command, "--host", "127.0.0.1", "--in-memory", "--default-bucket", "fer"],
        stdout=quiet, stderr=quiet,
    )  # fmt: skip
    try:
        filesystem, root = fs.FileSystem.from_uri(uri_of(port))
        for _ in range(int(patience(20))):
            try:
                fs.copy_files(str(source), root, destination_filesystem=filesystem)
                break
            except OSError:  # not up yet
                time.sleep(0.5)
        yield uri_of(port)
    finally:
        server.kill()
        server.wait()


def test_google_bucket_equals_folder(
    bucket: str, swept: Swept, store: Path, tmp_path: Path
) -> None:
    swept()
    settings = Settings(extract=FAST, sweep=SweepSettings())
    first = run_sweep(SweepRequest(bucket, str(tmp_path / "remote"), settings, silent))
    assert (first["read"], first["described"]) == (7, 6)  # one content occurs twice
    again = run_sweep(SweepRequest(bucket, str(tmp_path / "remote"), settings, silent))
    assert again["described"] == again["read"] == 0
    for table in ("images", "results"):
        assert rows(tmp_path / "remote", table) == rows(store, table)


def test_keys_with_empty_segments_and_junk(bucket: str) -> None:
    [address] = parse_qs(urlsplit(bucket).query)["endpoint_override"]
    for key in ("a//b.png", "a//c.png", "/d.png", "__MACOSX/e.png", "f/g/h.png"):
        name = quote(f"odd/{key}", safe="")
        path = f"/upload/storage/v1/b/fer/o?uploadType=media&name={name}"
        client = HTTPConnection(address)
        client.request("POST", path, b"1", {"Content-Type": "image/png"})
        assert client.getresponse().status == 200
    quality = Quality()
    entries = open_source(bucket.replace("/dump", "/odd")).entries(quality)
    assert [entry.path for entry in entries] == ["f/g/h.png"]
    counts = {record["kind"]: record["count"] for record in quality.records()}
    assert counts == {"unaddressable": 2, "junk_file": 1}


def test_unreachable_google_server() -> None:
    with pytest.raises(SourceLostError, match="does not respond"):
        open_source(uri_of(free_port()))
