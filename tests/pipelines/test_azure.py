"""Images, run folder, bundle and store in Azure Blob Storage: Microsoft's emulator on loopback."""

import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from deltalake import DeltaTable

from fer_ray.storage.objects.object_path import ObjectPath
from fer_ray.storage.objects.uris import resolve_filesystem
from fer_ray.storage.parquet import read_table
from tests.conftest import FerRay
from tests.object_store import forget_server, upload
from tests.patience import patience
from tests.pipelines.sweeps.s3 import free_port

AZURITE = shutil.which("azurite-blob")
pytestmark = [
    pytest.mark.thorough,
    pytest.mark.slow,
    pytest.mark.timeout(900),
    pytest.mark.skipif(AZURITE is None, reason="azurite is not installed: npm install -g azurite"),
]
# The emulator's account and key, which Microsoft publishes.
KEY = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="
FAST = ("--profile", "fast")


@pytest.fixture
def container(
    corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[ObjectPath]:
    """A container with the images of the synthetic corpus in `ck`."""
    port = free_port()
    for name, value in {
        "AZURE_STORAGE_ACCOUNT_NAME": "devstoreaccount1",
        "AZURE_STORAGE_ACCOUNT_KEY": KEY,
        "AZURE_STORAGE_USE_EMULATOR": "true",
        "AZURITE_BLOB_STORAGE_URL": f"http://127.0.0.1:{port}",
        "AWS_ALLOW_HTTP": "true",
    }.items():
        monkeypatch.setenv(name, value)
    forget_server()
    command = [AZURITE or "", "--silent", "--skipApiVersionCheck", "--blobPort", str(port)]
    server = subprocess.Popen(
        [*command, "--location", str(tmp_path / "azurite")],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        create_container()
        upload(corpus, ObjectPath("az://fer/ck"))
        yield ObjectPath("az://fer")
    finally:
        server.kill()
        server.wait()
        forget_server()


def create_container() -> None:
    filesystem, root = resolve_filesystem("az://fer")
    deadline = time.monotonic() + patience(60)
    while True:
        try:
            filesystem.create_dir(root)
            return
        except OSError:  # not up yet
            if time.monotonic() > deadline:
                raise
            time.sleep(1)


def stored_rows(table: str) -> list[str]:
    rows: Any = DeltaTable(table).to_pyarrow_table()
    kept = [name for name in rows.column_names if name not in ("sweep", "listed_ns", "mtime_ns")]
    return sorted(map(repr, rows.select(kept).to_pylist()))


def test_azure_equals_a_disk(
    container: ObjectPath, corpus: Path, tmp_path: Path, fer_ray: FerRay
) -> None:
    for file in sorted(corpus.rglob("*.png"))[:12]:
        for photos in (tmp_path / "photos", container / "photos"):
            photos.mkdir(exist_ok=True)
            (photos / file.name).write_bytes(file.read_bytes())
    bundle = ("bundle", "--out", "az://fer/run", "--to", "az://fer/model")
    for source, base, more in (("az://fer/ck", "az://fer", [bundle]), (corpus, tmp_path, [])):
        run = ("run", "--data", source, "--out", f"{base}/run", *FAST, "--trials", 2)
        for command in (run, *more, sweep(f"{base}/photos", f"{base}/store")):
            done = fer_ray(*command)
            assert done.returncode == 0, done.stderr
    assert read_table(container / "run" / "frames").equals(read_table(tmp_path / "run" / "frames"))
    for table in ("images", "results"):
        local = stored_rows(str(tmp_path / "store" / table))
        assert local
        assert stored_rows(f"az://fer/store/{table}") == local
    assert "Nothing new" in fer_ray(*sweep("az://fer/photos", "az://fer/store")).stdout


def sweep(source: object, store: str) -> tuple[object, ...]:
    # The tasks of the session's Ray have no credentials for the emulator.
    here = ("--set", "execution.executor=in-process")
    return ("sweep", "--source", source, "--store", store, "--model", "az://fer/model", *here)
