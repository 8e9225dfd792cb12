import os
import shutil
import subprocess
import sys
from pathlib import Path

import cv2
import h5py
import numpy as np
import pytest

from fer_ray.errors import UserError
from fer_ray.faces.landmarks import import_dlib
from fer_ray.networks.keras_backend import BACKENDS, load_keras
from fer_ray.networks.network import Backbone
from fer_ray.networks.weights import bundled_dlib_file
from tests.networks.conftest import RandomWeights


@pytest.fixture(scope="module")
def mobilenet(trained_mobilenet: Path) -> Backbone:
    return Backbone("mobilenet", trained_mobilenet, threads=1)


def test_features_match_keras_application(
    mobilenet: Backbone, trained_mobilenet: Path, crops: np.ndarray
) -> None:
    keras = load_keras()
    model = keras.applications.MobileNet(
        alpha=0.25, include_top=False, weights=str(trained_mobilenet), pooling="avg",
        input_shape=(224, 224, 3),
    )  # fmt: skip
    small = [cv2.resize(one, (224, 224), interpolation=cv2.INTER_AREA) for one in crops]
    rgb = np.repeat(np.stack(small)[..., None], 3, axis=3).astype(np.float32)
    expected = model.predict(keras.applications.mobilenet.preprocess_input(rgb), verbose=0)
    np.testing.assert_allclose(mobilenet(crops), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("batch", [1, 2, 5])
def test_features_are_independent_of_the_batch(
    batch: int, mobilenet: Backbone, crops: np.ndarray
) -> None:
    whole = mobilenet(crops)
    mobilenet.batch_images = batch
    np.testing.assert_allclose(mobilenet(crops), whole, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("name", ["published", "published.hdf5", "published.weights.h5"])
def test_weights_format_is_detected_from_content(
    name: str, mobilenet: Backbone, trained_mobilenet: Path, crops: np.ndarray, tmp_path: Path
) -> None:
    renamed = shutil.copy(trained_mobilenet, tmp_path / name)
    assert np.array_equal(Backbone("mobilenet", renamed, threads=1)(crops), mobilenet(crops))


def test_current_keras_format_is_accepted(
    mobilenet: Backbone, trained_mobilenet: Path, crops: np.ndarray, tmp_path: Path
) -> None:
    side = (224, 224, 3)
    model = load_keras().applications.MobileNet(
        alpha=0.25, include_top=False, weights=str(trained_mobilenet), input_shape=side
    )
    model.save_weights(tmp_path / "own.weights.h5")
    for file in (tmp_path / "own.weights.h5", tmp_path / "own.h5"):
        (tmp_path / "own.weights.h5").rename(file)
        again = Backbone("mobilenet", file, threads=1)(crops)
        np.testing.assert_allclose(again, mobilenet(crops), rtol=1e-5)


NOT_FINITE = {  # weights, and their value: NaN, or a negative variance
    "mobilenet": ("conv1/0:0", np.nan),
    "efficientnetv2b0": ("top_bn/3:0", -1),
}


@pytest.mark.parametrize(
    "name", ["mobilenet", pytest.param("efficientnetv2b0", marks=pytest.mark.thorough)]
)
def test_features_that_are_not_finite_raise(
    name: str, random_weights: RandomWeights, crops: np.ndarray, tmp_path: Path
) -> None:
    weights, value = NOT_FINITE[name]
    file = Path(shutil.copy(random_weights(name), tmp_path / "gone.h5"))
    with h5py.File(file, "r+") as opened:
        opened[weights][..., 0] = value
    with pytest.raises(UserError, match=rf"{name} returns features .* not finite .*gone\.h5"):
        Backbone(name, file, threads=1)(crops)


@pytest.mark.thorough
def test_loading_keras_prints_nothing() -> None:
    program = "from fer_ray.networks.keras_backend import load_keras as load; load(); load()"
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=120, check=True
    )
    assert (done.stdout, done.stderr) == ("", "")


@pytest.mark.slow
@pytest.mark.parametrize("backend", BACKENDS[1:])
def test_all_backends_give_the_same_features(
    backend: str, mobilenet: Backbone, trained_mobilenet: Path, crops: np.ndarray, tmp_path: Path
) -> None:
    pytest.importorskip(backend, reason=f"{backend} is not installed", exc_type=ImportError)
    np.save(tmp_path / "crops.npy", crops)
    program = (
        "import sys, numpy as np; from fer_ray.networks.network import Backbone\n"
        "_, weights, crops, to = sys.argv\n"
        "network = Backbone('mobilenet', weights, threads=1, batch_images=2)\n"
        "np.save(to, network(np.load(crops)))"
    )
    files = [trained_mobilenet, tmp_path / "crops.npy", tmp_path / "features.npy"]
    subprocess.run(
        [sys.executable, "-c", program, *map(str, files)],
        env={**os.environ, "KERAS_BACKEND": backend}, timeout=240, check=True,
    )  # fmt: skip
    np.testing.assert_allclose(np.load(files[2]), mobilenet(crops), rtol=1e-4, atol=1e-5)


def test_no_crops_give_no_features(mobilenet: Backbone, crops: np.ndarray) -> None:
    assert mobilenet(crops[:0]).shape == (0, 256)


def test_embedded_network_matches_dlib(crops: np.ndarray) -> None:
    dlib = import_dlib()
    generator = np.random.default_rng(4)
    points = generator.integers(60, 290, (3, 68, 2)).astype(np.float32)
    network = Backbone("dlib_resnet", bundled_dlib_file())
    found = network(crops[:3], points)
    assert (found.shape, found.dtype) == ((3, 128), np.float32)
    network.batch_images = 1
    np.testing.assert_allclose(network(crops[:3], points), found, rtol=1e-4, atol=1e-6)
    model = dlib.face_recognition_model_v1(str(bundled_dlib_file()))
    shape = dlib.full_object_detection(
        dlib.rectangle(0, 0, 349, 349), [dlib.point(int(x), int(y)) for x, y in points[0]]
    )
    direct = model.compute_face_descriptor(np.repeat(crops[0][..., None], 3, axis=2), shape)
    np.testing.assert_allclose(found[0], list(direct), rtol=1e-4, atol=1e-6)


def test_embedded_network_requires_landmarks(crops: np.ndarray) -> None:
    with pytest.raises(ValueError, match="needs the landmarks"):
        Backbone("dlib_resnet", bundled_dlib_file())(crops)


def test_weights_of_another_network_are_refused(random_weights: RandomWeights) -> None:
    with pytest.raises(
        UserError, match=r"not a weights file of mobilenet: .* Expected .*MobileNet.* 218,544"
    ):
        Backbone("mobilenet", random_weights("vgg16"), threads=1)
