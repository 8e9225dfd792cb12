"""Keras heads as bundled models: layers looked at before Keras builds any, safe mode besides."""

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
from fer_ray.networks.head import as_probabilities
from fer_ray.networks.keras_backend import load_keras
from fer_ray.vocabulary import EMOTIONS

CONFIG = "config.json"  # of a .keras file
CONFIG_BYTES = 1_048_576  # more than any head of ours has
MODEL = "Sequential"
LAYERS = {"InputLayer", "Normalization", "Dense", "Dropout"}  # what a head of ours is made of
# What these are made of besides.
PARTS = {"DTypePolicy", "GlorotUniform", "Zeros", "L2"}


class KerasHead:
    """A head: features in, class codes and probabilities out, as `CalibratedSvm`.

    Args:
        model: A Keras model of 8 outputs.
        labels: Emotions that it was trained on.
    """

    def __init__(self, model: Any, labels: tuple[str, ...]) -> None:
        self._model = model
        self._codes = np.array([EMOTIONS.index(name) for name in labels], np.int8)

    def predict(self, features: NDArray[np.float64]) -> NDArray[np.int8]:
        """Class codes (n,): the most probable ones."""
        codes: NDArray[np.int8] = self.probabilities(features).argmax(axis=1).astype(np.int8)
        return codes

    def probabilities(self, features: NDArray[np.float64]) -> NDArray[np.float64]:
        """Probabilities (n, 8) by class code; 0 for classes that were not trained."""
        raw = self._model(features.astype(np.float32), training=False)
        return as_probabilities(np.asarray(raw, dtype=np.float64), self._codes)


def load_head(content: bytes, name: str, labels: tuple[str, ...]) -> KerasHead:
    """The head in a `.keras` file.

    Args:
        content: The file.
        name: What a message calls it.
        labels: Emotions that it was trained on.

    Raises:
        UserError: It is no such file, or holds a layer that no head of ours has. Nothing of it has
            been built by then.
    """
    try:
        strange = _strange_classes(content)
    except Exception as problem:  # a stranger's archive may be broken in many ways
        raise UserError(f"{name} is no Keras file ({problem}). Nothing of it was loaded.") from None
    if strange:
        raise UserError(
            f"{name} holds what no fer_ray head has: {', '.join(strange)}. "
            "Nothing of it was loaded."
        )
    keras = load_keras(threads=1)
    with tempfile.TemporaryDirectory() as scratch:
        file = Path(scratch) / "model.keras"
        file.write_bytes(content)
        try:
            model = keras.saving.load_model(file, compile=False, safe_mode=True)
        except Exception as problem:  # Keras raises many kinds
            raise UserError(f"{name} cannot be loaded as a Keras model: {problem}") from None
    if model.output_shape != (None, len(EMOTIONS)):
        raise UserError(f"{name} answers with {model.output_shape}, not with {len(EMOTIONS)} each.")
    return KerasHead(model, labels)


def _strange_classes(content: bytes) -> list[str]:
    """Classes in a `.keras` file that are not let through; how it was compiled is never read."""
    with ZipFile(BytesIO(content)) as opened:
        if opened.getinfo(CONFIG).file_size > CONFIG_BYTES:
            raise ValueError("its configuration is too large")
        tree = json.loads(opened.read(CONFIG))
    if tree["class_name"] != MODEL:
        return [str(tree["class_name"])]
    known = {MODEL, *LAYERS, *PARTS}
    found = _classes({name: part for name, part in tree.items() if name != "compile_config"})
    return sorted(
        {
            f"{module}.{name}"
            for module, name, registered in found
            if name not in known or not _of_keras(module, name, registered)
        }
    )


def _of_keras(module: str, name: str, registered: Any) -> bool:
    """Whether a class is Keras's own, and not one that somebody registered."""
    return module.startswith("keras") and registered in (None, name)


def _classes(tree: Any) -> Iterator[tuple[str, str, Any]]:
    """Module, class and registered name of everything that Keras would build."""
    if isinstance(tree, dict):
        if "class_name" in tree:
            yield str(tree.get("module")), str(tree["class_name"]), tree.get("registered_name")
        tree = list(tree.values())
    if isinstance(tree, list):
        for part in tree:
            yield from _classes(part)
