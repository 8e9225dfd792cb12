import multiprocessing
import shutil
import threading
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from hashlib import sha256
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import h5py
import numpy as np
import pytest

from fer_ray.errors import UserError
from fer_ray.networks.weights import find_weights
from fer_ray.settings.backbones import BACKBONES, BackboneSpec
from fer_ray.storage import downloads
from fer_ray.storage.downloads import UnreachableError
from fer_ray.vocabulary import Origin
from tests.networks.conftest import RandomWeights

MOBILENET = BACKBONES["mobilenet"]


class CountingHandler(SimpleHTTPRequestHandler):
    requested: list[str] = []  # noqa: RUF012

    def do_GET(self) -> None:
        self.requested.append(self.path)
        super().do_GET()

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def served(tmp_path: Path, trained_mobilenet: Path) -> Iterator[BackboneSpec]:
    """MobileNet, with its file on a local server."""
    folder = tmp_path / "served"
    folder.mkdir()
    shutil.copy(trained_mobilenet, folder / "weights.h5")
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(CountingHandler, directory=folder))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    CountingHandler.requested.clear()
    yield replace(
        MOBILENET,
        url=f"http://127.0.0.1:{server.server_port}/weights.h5",
        file_hash=sha256(trained_mobilenet.read_bytes()).hexdigest(),
    )
    server.shutdown()


@pytest.mark.slow
def test_workers_of_a_node_download_once(
    served: BackboneSpec, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KERAS_HOME", str(tmp_path / "keras"))
    with multiprocessing.get_context("spawn").Pool(2) as pool:
        found = pool.starmap(find_weights, [(served, None)] * 2)
    assert {one.sha256 for one in found} == {served.file_hash}
    assert {one.origin for one in found} == {Origin.IMAGENET}
    assert CountingHandler.requested == ["/weights.h5"]


def test_unreachable_weights_name_the_url(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KERAS_HOME", str(tmp_path))
    monkeypatch.setattr(downloads, "RETRIES", 0)
    nowhere = replace(MOBILENET, url="http://127.0.0.1:9/weights.h5")
    with pytest.raises(
        UnreachableError, match=r"Connection refused[\s\S]*127\.0\.0\.1:9/weights\.h5"
    ):
        find_weights(nowhere, None)


def test_cached_file_is_not_downloaded_or_locked(
    served: BackboneSpec, trained_mobilenet: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KERAS_HOME", str(tmp_path / "keras"))
    cache = tmp_path / "keras" / "models"
    cache.mkdir(parents=True)
    shutil.copy(trained_mobilenet, cache / "weights.h5")
    found = find_weights(served, None)
    assert (found.file, found.origin) == (cache / "weights.h5", Origin.IMAGENET)
    assert [file.name for file in cache.iterdir()] == ["weights.h5"]  # not even a lock


def test_unwritable_cache_names_keras_home(
    served: BackboneSpec, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "keras").touch()  # a file instead of a folder
    monkeypatch.setenv("KERAS_HOME", str(tmp_path / "keras"))
    with pytest.raises(UserError, match=r"Cannot store .* Set KERAS_HOME to a writable folder"):
        find_weights(served, None)


def test_file_with_another_hash_is_not_stored(
    served: BackboneSpec, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KERAS_HOME", str(tmp_path / "keras"))
    monkeypatch.setattr(downloads, "RETRIES", 1)
    with pytest.raises(UnreachableError, match="sends a different file"):
        find_weights(replace(served, file_hash="0" * 64), None)
    assert CountingHandler.requested == ["/weights.h5"] * 2
    stored = [file.name for file in (tmp_path / "keras" / "models").iterdir()]
    assert stored == [".weights.h5.lock"]


def test_published_file_is_recognised_by_content(imagenet_mobilenet: Path, tmp_path: Path) -> None:
    renamed = shutil.copy(imagenet_mobilenet, tmp_path / "mine.h5")
    assert find_weights(MOBILENET, str(renamed)).origin == Origin.IMAGENET


def test_untrained_weights_are_detected(
    random_weights: RandomWeights, trained_mobilenet: Path
) -> None:
    assert find_weights(MOBILENET, str(random_weights("mobilenet"))).origin == Origin.UNTRAINED
    assert find_weights(MOBILENET, str(trained_mobilenet)).origin == Origin.FILE


def test_embedded_weights_need_no_network() -> None:
    spec = BACKBONES["dlib_resnet"]
    found = find_weights(spec, None)
    assert found.origin == find_weights(spec, str(found.file)).origin == Origin.EMBEDDED


@pytest.mark.parametrize(
    ("name", "source", "message"),
    [
        ("mobilenet", "none.h5", "The weights file none.h5 does not exist"),
        ("mobilenet", "text", "it is not an HDF5 file"),
        ("mobilenet", "few", "it contains 12 values. Expected .* 218,544 values"),
        ("mobilenet", "embedded", "no embedded weights: use imagenet"),
        ("dlib_resnet", "imagenet", "no imagenet weights: use embedded"),
    ],
)
def test_invalid_weights_are_refused(name: str, source: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "text").write_text("no weights")
    with h5py.File(tmp_path / "few", "w") as opened:
        opened["a"] = np.ones(12, np.float32)
    file = tmp_path / source
    with pytest.raises(UserError, match=message):
        find_weights(BACKBONES[name], str(file) if file.exists() else source)
