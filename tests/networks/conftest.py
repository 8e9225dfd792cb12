"""Weights in the real file formats: random ones of any backbone, published ones of MobileNet."""

from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pyarrow.parquet as pq
import pytest

from fer_ray.networks.keras_backend import load_keras
from fer_ray.settings.backbones import BACKBONES
from fer_ray.storage.files import read_json, write_json
from fer_ray.storage.parquet import rows_by_file, write_table
from tests.conftest import PHOTOS
from tests.evaluation.conftest import draw_frames

RandomWeights = Callable[[str], Path]
FEW = 10  # images of the smaller run folder


@pytest.fixture(scope="session")
def imagenet_mobilenet() -> Path:
    """Keras's own ImageNet weights of the small MobileNet."""
    file = PHOTOS / "weights" / "mobilenet_2_5_224_tf_no_top.h5"
    if not file.is_file():
        pytest.skip("no ImageNet weights here (set FER_RAY_PHOTOS)")
    return file


@pytest.fixture(scope="session")
def random_weights(tmp_path_factory: pytest.TempPathFactory) -> RandomWeights:
    """Random weights of a backbone, in a file laid out as Keras's published ones."""
    folder = tmp_path_factory.mktemp("weights")

    def written(name: str) -> Path:
        file = folder / f"{name}.h5"
        if not file.is_file():
            write_as_published(built(name), file)
        return file

    return written


def built(name: str) -> object:
    """Build the application of a backbone, with random weights."""
    keras, spec = load_keras(), BACKBONES[name]
    keras.utils.set_random_seed(3)
    application = getattr(keras.applications, spec.application)
    side = (spec.input_px, spec.input_px, 3)
    return application(include_top=False, weights=None, input_shape=side, **spec.options)


def write_as_published(model: object, file: Path, trained: bool = False) -> None:
    """Write weights in the layout of Keras's published `.h5` files: one group per layer, in order.

    Args:
        model: The model with the weights.
        file: The file to write.
        trained: Whether to change vectors from their initial values.
    """
    generator = np.random.default_rng(5)
    with h5py.File(file, "w") as opened:
        opened.attrs["layer_names"] = [layer.name.encode() for layer in model.layers]  # type: ignore[attr-defined]
        opened.attrs["backend"], opened.attrs["keras_version"] = b"tensorflow", b"2.0.0"
        for layer in model.layers:  # type: ignore[attr-defined]
            group = opened.create_group(layer.name)
            names = [f"{at}:0".encode() for at in range(len(layer.weights))]
            group.attrs["weight_names"] = names
            for name, weight in zip(names, layer.weights, strict=True):
                values = np.asarray(weight)
                if trained and values.ndim == 1:
                    values = values + generator.uniform(0, 0.1, values.shape).astype(np.float32)
                group[name.decode()] = values


@pytest.fixture(scope="session")
def trained_mobilenet(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Random weights of MobileNet that do not count as untrained."""
    file = tmp_path_factory.mktemp("weights") / "own.h5"
    write_as_published(built("mobilenet"), file, trained=True)
    return file


@pytest.fixture(scope="session")
def crops() -> np.ndarray:
    """Five gray crops (5, 350, 350) uint8 of smooth random content."""
    import cv2

    small = np.random.default_rng(2).integers(0, 256, (5, 12, 12)).astype(np.uint8)
    return np.stack([cv2.resize(one, (350, 350), interpolation=cv2.INTER_CUBIC) for one in small])


@pytest.fixture
def frames(run_dir: Path, tmp_path: Path) -> Path:
    """A run folder with the first frames of a complete run and nothing else."""
    return first_frames(run_dir, tmp_path / "deep", FEW)


def first_frames(run_dir: Path, out: Path, count: int) -> Path:
    """A run folder with the first frames of another one and nothing else."""
    (out / "frames").mkdir(parents=True)
    frames = pq.read_table(run_dir / "frames").slice(0, count)
    write_table(frames, out / "frames" / "0.parquet")
    record = read_json(run_dir / "extract.json")
    assert record is not None
    record["data"]["selected"] = frames.num_rows
    record["files"] = rows_by_file(out / "frames")
    write_json(record, out / "extract.json")
    return out


@pytest.fixture
def drawn_frames(tmp_path: Path) -> Path:
    """A run folder whose features are random numbers."""
    return draw_frames(tmp_path / "run")
