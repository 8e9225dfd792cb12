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
from fer_ray.networks.weights import UnreachableError, find_weights
from fer_ray.settings.backbones import BACKBONES, BackboneSpec
from fer_ray.vocabulary import Origin
from tests.networks.conftest import RandomWeights

MOBILENET = BACKBONES["mobilenet"]


class CountingHandler(SimpleHTTPRequestHandler):
    asked: list[str] = []  # noqa: RUF012

    def do_GET(self) -> None:
        self.asked.append(self.path)
        super().do_GET()

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def served(tmp_path: Path, trained_mobilenet: Path) -> Iterator[BackboneSpec]:
    """MobileNet with its file on a server of this machine."""
    folder = tmp_path / "served"
    folder.mkdir()
    shutil.copy(trained_mobilenet, folder / "weights.h5")
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(CountingHandler, directory=folder))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    CountingHandler.asked.clear()
    yield replace(
        MOBILENET,
        url=f"http://127.0.0.1:{server.server_port}/weights.h5",
        file_hash=sha256(trained_mobilenet.read_bytes()).hexdigest(),
    )
    server.shutdown()


@pytest.mark.slow
def test_workers_of_one_node_download_once(
    served: BackboneSpec, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KERAS_HOME", str(tmp_path / "keras"))
    with multiprocessing.get_context("spawn").Pool(2) as pool:
        found = pool.starmap(find_weights, [(served, None)] * 2)
    assert {one.sha256 for one in found} == {served.file_hash}
    assert {one.origin for one in found} == {Origin.IMAGENET}
    assert CountingHandler.asked == ["/weights.h5"]


def test_weights_that_cannot_be_fetched_name_the_file_to_fetch(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KERAS_HOME", str(tmp_path))
    nowhere = replace(MOBILENET, url="http://127.0.0.1:9/weights.h5")
    with pytest.raises(
        UnreachableError, match=r"Connection refused[\s\S]*127\.0\.0\.1:9/weights\.h5"
    ):
        find_weights(nowhere, None)


def test_a_cache_that_holds_the_file_is_left_as_it_is(
    served: BackboneSpec, trained_mobilenet: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KERAS_HOME", str(tmp_path / "keras"))
    cache = tmp_path / "keras" / "models"
    cache.mkdir(parents=True)
    shutil.copy(trained_mobilenet, cache / "weights.h5")
    found = find_weights(served, None)
    assert (found.file, found.origin) == (cache / "weights.h5", Origin.IMAGENET)
    assert [file.name for file in cache.iterdir()] == ["weights.h5"]  # not even a lock


def test_a_cache_that_cannot_be_written_to_is_told_with_what_to_do(
    served: BackboneSpec, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "keras").touch()  # no folder
    monkeypatch.setenv("KERAS_HOME", str(tmp_path / "keras"))
    with pytest.raises(UserError, match=r"cannot be kept in .* Name another folder in KERAS_HOME"):
        find_weights(served, None)


def test_another_file_in_the_place_of_the_published_one_is_not_kept(
    served: BackboneSpec, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KERAS_HOME", str(tmp_path / "keras"))
    with pytest.raises(UnreachableError, match="not the published file"):
        find_weights(replace(served, file_hash="0" * 64), None)
    assert not list((tmp_path / "keras" / "models").glob("*weights.h5*tmp"))


def test_the_published_file_is_known_by_its_content(
    imagenet_mobilenet: Path, tmp_path: Path
) -> None:
    renamed = shutil.copy(imagenet_mobilenet, tmp_path / "mine.h5")
    assert find_weights(MOBILENET, str(renamed)).origin == Origin.IMAGENET


def test_weights_that_were_never_trained_are_told_from_trained_ones(
    random_weights: RandomWeights, trained_mobilenet: Path
) -> None:
    assert find_weights(MOBILENET, str(random_weights("mobilenet"))).origin == Origin.UNTRAINED
    assert find_weights(MOBILENET, str(trained_mobilenet)).origin == Origin.FILE


def test_the_embedded_weights_need_no_network() -> None:
    spec = BACKBONES["dlib_resnet"]
    found = find_weights(spec, None)
    assert found.origin == find_weights(spec, str(found.file)).origin == Origin.EMBEDDED


@pytest.mark.parametrize(
    ("name", "asked", "says"),
    [
        ("mobilenet", "none.h5", "There is no weights file none.h5"),
        ("mobilenet", "text", "it is no HDF5 file"),
        ("mobilenet", "few", "it holds 12 numbers. Expected: .* 218,544 numbers"),
        ("mobilenet", "embedded", "no embedded weights: take imagenet"),
        ("dlib_resnet", "imagenet", "no imagenet weights: take embedded"),
    ],
)
def test_what_cannot_be_weights_is_refused(
    name: str, asked: str, says: str, tmp_path: Path
) -> None:
    (tmp_path / "text").write_text("no weights")
    with h5py.File(tmp_path / "few", "w") as opened:
        opened["a"] = np.ones(12, np.float32)
    file = tmp_path / asked
    with pytest.raises(UserError, match=says):
        find_weights(BACKBONES[name], str(file) if file.exists() else asked)
