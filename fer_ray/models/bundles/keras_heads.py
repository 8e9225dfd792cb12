"""Network heads of bundles: their layers are checked before Keras creates any, in safe mode."""

import json
import tempfile
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from typing import Any
from zipfile import ZipFile

import numpy as np
from numpy.typing import NDArray

from fer_ray.errors import UserError
from fer_ray.networks.heads.head import as_probabilities
from fer_ray.networks.keras_backend import keras_defaults, load_keras
from fer_ray.vocabulary import EMOTIONS

CONFIG = "config.json"  # in a .keras file
MAX_CONFIG_BYTES = 1_048_576  # larger than that of any fer_ray head
MODEL = "Sequential"
LAYERS = {"InputLayer", "Normalization", "Dense", "Dropout"}  # the layers of fer_ray heads
PARTS = {"DTypePolicy", "GlorotUniform", "Zeros", "L2"}  # what these layers consist of


class KerasHead:
    """A head that maps features to class scores, like `TemperatureSvm`.

    Args:
        model: A Keras model with 8 outputs.
        labels: Emotions that it was trained on.

    Attributes:
        model: The Keras model.
    """

    def __init__(self, model: Any, labels: tuple[str, ...]) -> None:
        self.model = model
        self._codes = np.array([EMOTIONS.index(name) for name in labels], np.int8)

    def scores(self, features: NDArray[np.float64]) -> NDArray[np.float64]:
        """Compute scores (n, 8) by class code: the logarithms of `probabilities`."""
        return log_scores(self.probabilities(features))

    def probabilities(self, features: NDArray[np.float64]) -> NDArray[np.float64]:
        """Compute the outputs (n, 8) by class code; 0 for classes that were not trained."""
        with keras_defaults():
            raw = self.model(features.astype(np.float32), training=False)
        return as_probabilities(np.asarray(raw, dtype=np.float64), self._codes)


def log_scores(probabilities: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the logarithms of probabilities; −inf for 0."""
    with np.errstate(divide="ignore"):
        return np.log(probabilities)


def load_head(content: bytes, name: str, labels: tuple[str, ...]) -> KerasHead:
    """Load the head in a `.keras` file.

    Args:
        content: Bytes of the file.
        name: Name of the file in messages.
        labels: Emotions that the head was trained on.

    Raises:
        UserError: It is not a Keras file, or contains a layer that fer_ray heads do not have. In
            either case, no layer was created.
    """
    _require_allowed(content, name)
    model = _load_model(content, name)
    if model.output_shape != (None, len(EMOTIONS)):
        raise UserError(
            f"{name} has outputs of shape {model.output_shape}; expected (None, {len(EMOTIONS)}). "
            "Create the bundle again."
        )
    return KerasHead(model, labels)


def _require_allowed(content: bytes, name: str) -> None:
    try:
        forbidden = _forbidden_classes(content)
    except Exception as problem:  # an untrusted archive can be damaged in many ways
        raise UserError(
            f"{name} is not a Keras file ({problem}). Nothing in it was loaded. Create the bundle "
            "again."
        ) from None
    if forbidden:
        raise UserError(
            f"{name} contains classes that fer_ray heads do not have: {', '.join(forbidden)}. "
            "Nothing in it was loaded. Use a bundle that fer_ray created."
        )


def _load_model(content: bytes, name: str) -> Any:
    keras = load_keras(threads=1)
    with tempfile.TemporaryDirectory() as scratch:
        file = Path(scratch) / "model.keras"
        file.write_bytes(content)
        try:
            with keras_defaults():
                return keras.saving.load_model(file, compile=False, safe_mode=True)
        except Exception as problem:  # Keras raises many kinds
            raise UserError(
                f"Cannot load {name} as a Keras model: {problem}\nCreate the bundle again."
            ) from None


def _forbidden_classes(content: bytes) -> list[str]:
    """Classes in a `.keras` file that are not allowed; its compile settings are never read."""
    with ZipFile(BytesIO(content)) as archive:
        if archive.getinfo(CONFIG).file_size > MAX_CONFIG_BYTES:
            raise ValueError("its configuration is too large")
        tree = json.loads(archive.read(CONFIG))
    if tree["class_name"] != MODEL:
        return [str(tree["class_name"])]
    allowed = {MODEL, *LAYERS, *PARTS}
    classes = _classes({name: part for name, part in tree.items() if name != "compile_config"})
    return sorted(
        {
            f"{module}.{name}"
            for module, name, registered in classes
            if name not in allowed or not _is_of_keras(module, name, registered)
        }
    )


def _is_of_keras(module: str, name: str, registered: Any) -> bool:
    """Return whether a class is part of Keras and not a custom one that was registered."""
    return module.startswith("keras") and registered in (None, name)


def _classes(tree: Any) -> Iterator[tuple[str, str, Any]]:
    """Module, class and registered name of everything that Keras would create."""
    if isinstance(tree, dict):
        if "class_name" in tree:
            yield str(tree.get("module")), str(tree["class_name"]), tree.get("registered_name")
        tree = list(tree.values())
    if isinstance(tree, list):
        for part in tree:
            yield from _classes(part)
