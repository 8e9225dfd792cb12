"""A head on bottleneck features: its network, training and predictions.

Batches are passed to Keras one by one: on so little data, `fit` costs about 100 ms per epoch, and a
single batch 2 ms.
"""

import math
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fer_ray.evaluation import metrics
from fer_ray.evaluation.temperature import NO_UNIFORM_SHARE, fit_temperature_scaling
from fer_ray.networks.heads.head_data import Floats, HeadData
from fer_ray.networks.keras_backend import keras_defaults, load_keras
from fer_ray.settings.networks import HeadSettings
from fer_ray.storage.files import write_bytes
from fer_ray.vocabulary import EMOTIONS

History = list[dict[str, float]]

RATE_FACTOR = 0.1  # of ReduceLROnPlateau, as in the reference study


class HeadTraining:
    """A head in training. Its result is the epoch with the lowest validation loss.

    Attributes:
        history: One record per epoch: losses in nats, accuracies, learning rate.
        finished: Whether all epochs are done or training stopped early.
        best: The record of the best epoch so far.
    """

    def __init__(self, settings: HeadSettings, data: HeadData, seed: int) -> None:
        keras = load_keras(threads=1)
        keras.utils.set_random_seed(seed % 2**32)
        self._settings, self._data = settings, data
        self._generator = np.random.default_rng(seed)
        with keras_defaults():
            self._model = _compile(keras, settings, data)
            self._callbacks = _callbacks(keras, settings, self._model)
        self._class_weights = _class_weights(settings, data.labels)
        self._best_weights = self._model.get_weights()
        self.history: History = []
        self.best: dict[str, float] = {}
        self._seconds = 0.0

    @property
    def finished(self) -> bool:
        """Whether all epochs are done or training stopped early."""
        return len(self.history) >= self._settings.epochs or bool(self._model.stop_training)

    def run_epoch(self) -> dict[str, float]:
        """Train one more epoch and return its record."""
        started = time.perf_counter()
        epoch = len(self.history)
        rate = float(self._model.optimizer.learning_rate)
        with keras_defaults():
            loss, accuracy = self._fit(epoch)
        outputs = self.outputs(self._data.validation)
        labels = self._data.validation_labels
        validation_loss = metrics.log_loss(labels, outputs)
        record = {
            "epoch": epoch,
            "train_loss": loss,
            "train_accuracy": accuracy,
            # Diverged weights give NaN, which must not become the best loss.
            "validation_loss": validation_loss if math.isfinite(validation_loss) else math.inf,
            "validation_accuracy": float(np.mean(labels == outputs.argmax(axis=1))),
            "learning_rate": rate,
        }
        self.history.append(record)
        if not self.best or record["validation_loss"] < self.best["validation_loss"]:
            self.best, self._best_weights = record, self._model.get_weights()
        for callback in self._callbacks:
            callback.on_epoch_end(epoch, {"val_loss": record["validation_loss"]})
        self._seconds += time.perf_counter() - started
        return {**record, "seconds": self._seconds}

    def _fit(self, epoch: int) -> tuple[float, float]:
        """Train on the batches of an epoch and return the mean loss and accuracy."""
        settings, features = self._settings, self._data.of_epoch(epoch)
        order = self._generator.permutation(len(features))
        if settings.steps_per_epoch:
            order = order[: settings.steps_per_epoch * settings.batch_size]
        sums = np.zeros(2)
        for start in range(0, len(order), settings.batch_size):
            rows = order[start : start + settings.batch_size]
            self._model.reset_metrics()  # some Keras versions accumulate them over batches
            result = self._model.train_on_batch(
                features[rows], self._data.one_hot[rows],
                class_weight=self._class_weights, return_dict=True,
            )  # fmt: skip
            sums += len(rows) * np.array([result["loss"], result["accuracy"]], dtype=float)
        loss, accuracy = sums / len(order)
        return float(loss), float(accuracy)

    def outputs(self, features: Floats) -> NDArray[np.float64]:
        """Probabilities (n, 8) over all outputs of the head in its current state, for losses."""
        with keras_defaults():
            raw = np.asarray(self._model.predict_on_batch(features), dtype=np.float64)
        return as_probabilities(raw, np.arange(len(EMOTIONS), dtype=np.int8))

    def probabilities(self, features: Floats) -> NDArray[np.float64]:
        """Class probabilities (n, 8); 0 for classes that are not in the experiment."""
        return as_probabilities(self.outputs(features), self._data.codes)

    def restore_best(self) -> "HeadTraining":
        """Restore the weights of the best epoch, and calibrate them if the settings ask for it.

        A temperature of the softmax is a factor of the last layer's weights, so the head stays a
        plain network.
        """
        self._model.set_weights(self._best_weights)
        if self._settings.calibrate and math.isfinite(self.best["validation_loss"]):
            with np.errstate(divide="ignore"):
                scores = np.log(self.probabilities(self._data.validation))
            scaling = fit_temperature_scaling(
                self._data.validation_labels, scores, shares=NO_UNIFORM_SHARE
            )
            last = self._model.layers[-1]
            last.set_weights([scaling.inverse_temperature * one for one in last.get_weights()])
        return self

    def save(self, file: Path) -> None:
        """Write the head in Keras's format, atomically."""
        with tempfile.TemporaryDirectory() as scratch:
            local = Path(scratch) / "head.keras"  # Keras writes to local files only
            self._model.save(local)
            write_bytes(local.read_bytes(), file)


def as_probabilities(raw: NDArray[np.float64], codes: NDArray[np.int8]) -> NDArray[np.float64]:
    """Scale a head's outputs (n, 8) to sum to 1: those of a sigmoid need not.

    Keras's cross-entropy scales them in the same way.

    Args:
        raw: Outputs of the last layer.
        codes: Class codes of the experiment; all other classes get 0.
    """
    shares = np.zeros_like(raw)
    shares[:, codes] = np.maximum(raw[:, codes], np.finfo(np.float32).tiny)
    scaled: NDArray[np.float64] = shares / shares.sum(axis=1, keepdims=True)
    return scaled


def _compile(keras: Any, settings: HeadSettings, data: HeadData) -> Any:
    layers, features = keras.layers, data.of_epoch(0)
    decay = keras.regularizers.L2(settings.weight_decay) if settings.weight_decay else None
    model = keras.Sequential([keras.Input((features.shape[1],), name="features")])
    if settings.standardise:
        mean, variance = features.mean(axis=0), features.var(axis=0)
        model.add(layers.Normalization(mean=mean, variance=np.maximum(variance, 1e-12)))
    if settings.hidden:
        model.add(layers.Dense(settings.hidden, activation="relu", kernel_regularizer=decay))
    if settings.dropout:
        model.add(layers.Dropout(settings.dropout))
    model.add(layers.Dense(len(EMOTIONS), activation=settings.activation, kernel_regularizer=decay))
    model.compile(
        keras.optimizers.get(
            {
                "class_name": settings.optimizer,
                "config": {"learning_rate": settings.learning_rate},
            }
        ),
        keras.losses.CategoricalCrossentropy(label_smoothing=settings.label_smoothing),
        metrics=["accuracy"],
        jit_compile=False,  # compilation takes longer than all epochs
    )
    return model


def _callbacks(keras: Any, settings: HeadSettings, model: Any) -> list[Any]:
    """Keras's callbacks on validation loss."""
    callbacks = []
    if settings.reduce_lr_patience is not None:
        callbacks.append(
            keras.callbacks.ReduceLROnPlateau(
                factor=RATE_FACTOR, patience=settings.reduce_lr_patience
            )
        )
    if settings.stop_patience is not None:
        callbacks.append(keras.callbacks.EarlyStopping(patience=settings.stop_patience))
    for callback in callbacks:
        callback.set_model(model)
        callback.on_train_begin()
    model.stop_training = False
    return callbacks


def _class_weights(settings: HeadSettings, labels: NDArray[np.int8]) -> dict[int, float] | None:
    """Weights of the fitted classes, which average 1 per image."""
    if settings.class_weights == "none":
        return None
    codes, counts = np.unique(labels, return_counts=True)
    shares = counts.astype(float) ** (1 if settings.class_weights == "balanced" else 0.5)
    scale = len(labels) / np.sum(counts / shares)
    weights = dict.fromkeys(range(len(EMOTIONS)), 0.0)
    return weights | {
        int(code): float(scale / share) for code, share in zip(codes, shares, strict=True)
    }


def train_head(settings: HeadSettings, data: HeadData, seed: int) -> HeadTraining:
    """Train a head and restore its best epoch."""
    training = HeadTraining(settings, data, seed)
    while not training.finished:
        training.run_epoch()
    return training.restore_best()
