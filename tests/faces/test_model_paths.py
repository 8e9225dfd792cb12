"""Model files: found, fetched, described, missing."""

import hashlib
import json
import threading
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from fer_ray.errors import UserError
from fer_ray.faces.model_paths import (
    describe_models,
    detector_file,
    fetch,
    landmark_file,
    model_hashes,
    stored_file,
)
from fer_ray.settings.extraction import Crop, ExtractSettings, Landmarks
from fer_ray.settings.face_models import DETECTORS, LANDMARK_MODELS
from fer_ray.settings.model_files import MODEL_FILES, ModelFile
from fer_ray.storage import downloads
from tests.conftest import run_in_process

CONTENT = b"a face landmarker"


@pytest.fixture(autouse=True)
def models_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("FER_RAY_MODELS", str(tmp_path / "models"))
    monkeypatch.setattr(downloads, "RETRIES", 0)
    return tmp_path / "models"


@pytest.fixture
def served(tmp_path: Path) -> Iterator[ModelFile]:
    """A model file on a server of this machine."""

    class Silent(SimpleHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            pass

    (tmp_path / "served").mkdir()
    (tmp_path / "served" / "model.task").write_bytes(CONTENT)
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Silent, directory=tmp_path / "served"))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield replace(
        MODEL_FILES["face_landmarker"],
        file="model.task",
        size=len(CONTENT),
        sha256=hashlib.sha256(CONTENT).hexdigest(),
        url=f"http://127.0.0.1:{server.server_port}/model.task",
    )
    server.shutdown()
    server.server_close()


def test_fetched_file_is_found(served: ModelFile, models_folder: Path) -> None:
    assert stored_file(served) is None
    assert fetch(served) == models_folder / "model.task" == stored_file(served)
    assert (models_folder / "model.task").read_bytes() == CONTENT


def test_wrong_hash_is_refused(served: ModelFile, models_folder: Path) -> None:
    with pytest.raises(UserError, match="sends a different file"):
        fetch(replace(served, sha256="0" * 64))
    assert not (models_folder / "model.task").exists()


def test_offline_message_names_folder_and_option(
    models_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FER_RAY_OFFLINE", "1")
    with pytest.raises(UserError) as raised:
        landmark_file(Landmarks(model="face-mesh"))
    for words in (
        "FER_RAY_OFFLINE",
        str(models_folder / "face_landmarker.task"),
        "--landmark-file",
    ):
        assert words in str(raised.value)


def test_unwritable_folder_names_the_variable(served: ModelFile, models_folder: Path) -> None:
    models_folder.touch()  # a file instead of a folder
    with pytest.raises(UserError, match="Set FER_RAY_MODELS"):
        fetch(served)


def test_detector_shares_the_file_of_the_landmark_model(tmp_path: Path) -> None:
    file = tmp_path / "mine.task"
    file.write_bytes(CONTENT)
    mesh = Landmarks(model="face-mesh", file=str(file))
    assert detector_file(Crop(detector="blazeface"), mesh) == file
    assert detector_file(Crop(), mesh) is None
    assert detector_file(Crop(detector="blazeface", faces="whole"), mesh) is None
    settings = ExtractSettings(crop=Crop(detector="blazeface"), landmarks=mesh)
    assert set(model_hashes(settings).values()) == {hashlib.sha256(CONTENT).hexdigest()}


def test_models_are_described_by_content() -> None:
    spec = MODEL_FILES["dlib_landmarks"]
    known, unknown = describe_models({"landmarks": spec.sha256, "detector": "0" * 64}).values()
    assert known == {
        "name": "dlib_landmarks",
        "licence": spec.licence,
        "commercial_use": False,
        "sha256": spec.sha256,
    }
    assert unknown["licence"] is unknown["name"] is None


def test_every_model_names_a_known_file() -> None:
    specs = [*DETECTORS.values(), *LANDMARK_MODELS.values()]
    assert {spec.file for spec in specs} - {None} <= set(MODEL_FILES)


def test_packaged_file_has_the_listed_hash() -> None:
    spec = MODEL_FILES["dlib_landmarks"]
    file = stored_file(spec)
    assert file is not None
    assert file.stat().st_size == spec.size
    assert downloads.has_hash(file, f"sha256:{spec.sha256}")


def test_published_landmarker_has_the_listed_hash(landmarker_file: Path) -> None:
    spec = MODEL_FILES["face_landmarker"]
    assert landmarker_file.stat().st_size == spec.size
    assert downloads.has_hash(landmarker_file, f"sha256:{spec.sha256}")


def test_command_lists_files() -> None:
    rows = {row["name"]: row for row in json.loads(run_in_process("models", "--json").stdout)}
    assert rows["face_landmarker"]["path"] is None
    assert rows["face_landmarker"]["commercial_use"] is True
    assert rows["dlib_landmarks"]["path"].endswith(".dat")
    assert rows["dlib_landmarks"]["commercial_use"] is False
    assert rows["mobilenet"]["hash"].partition(":")[0] in ("md5", "sha256")
    listed = run_in_process("models").stdout
    assert "not on this machine" in listed
    assert "300-W" in listed


def test_command_refuses_an_unknown_name() -> None:
    done = run_in_process("models", "fetch", "face-mesh")
    assert done.returncode == 2
    assert "No model file is named face-mesh. Choose one of face_landmarker" in done.stderr


def test_command_fetches_a_packaged_file() -> None:
    done = run_in_process("models", "fetch", "dlib_landmarks")
    assert Path(done.stdout.strip()).name == "shape_predictor_68_face_landmarks.dat"
