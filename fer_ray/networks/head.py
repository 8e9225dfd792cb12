"""One head on bottleneck features: built, trained epoch by epoch, and answering. No Ray here.

Batches are fed to Keras one by one: `fit` costs some 100 ms an epoch on so little data, a batch of
its own 2 ms.
"""

import math
import time
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fer_ray.evaluation import metrics
from fer_ray.networks.head_data import Floats, HeadData
from fer_ray.networks.keras_backend import load_keras
from fer_ray.settings.networks import HeadSettings
from fer_ray.vocabulary import EMOTIONS

History = list[dict[str, float]]

RATE_FACTOR = 0.1  # of the study's reduce-on-plateau


class HeadTraining:
    """A head in training; of all epochs the one with the least validation loss counts.

    Attributes:
        history: One record an epoch: losses in nats, accuracies, learning rate.
        finished: Whether it has had all its epochs, or was stopped early.
        best: The record that counts.
    """

    def __init__(self, settings: HeadSettings, data: HeadData, seed: int) -> None:
        keras = load_keras(threads=1)
        keras.utils.set_random_seed(seed % 2**32)
        self._settings, self._data = settings, data
        self._generator = np.random.default_rng(seed)
        self._model = _compile(keras, settings, data)
        self._callbacks = _callbacks(keras, settings, self._model)
        self._class_weights = _class_weights(settings, data.labels)
        self._best_weights = self._model.get_weights()
        self.history: History = []
        self.best: dict[str, float] = {}
        self._seconds = 0.0

    @property
    def finished(self) -> bool:
        """Whether no epoch is left."""
        return len(self.history) >= self._settings.epochs or bool(self._model.stop_training)

    def run_epoch(self) -> dict[str, float]:
        """One more epoch; its record."""
        started = time.perf_counter()
        epoch = len(self.history)
        rate = float(self._model.optimizer.learning_rate)
        loss, accuracy = self._fit(epoch)
        guessed = self.outputs(self._data.validation)
        truth = self._data.validation_labels
        validation_loss = metrics.log_loss(truth, guessed)
        record = {
            "epoch": epoch,
            "train_loss": loss,
            "train_accuracy": accuracy,
            # Weights that have run away give no number: worse than any, so that no epoch hides it.
            "validation_loss": validation_loss if math.isfinite(validation_loss) else math.inf,
            "validation_accuracy": metrics.accuracy(truth, guessed.argmax(axis=1)),
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
        """Mean loss and accuracy over the batches of an epoch."""
        settings, features = self._settings, self._data.of_epoch(epoch)
        order = self._generator.permutation(len(features))
        if settings.steps_per_epoch:
            order = order[: settings.steps_per_epoch * settings.batch_size]
        sums = np.zeros(2)
        for at in range(0, len(order), settings.batch_size):
            rows = order[at : at + settings.batch_size]
            self._model.reset_metrics()  # Keras versions differ in whether these run on
            found = self._model.train_on_batch(
                features[rows], self._data.one_hot[rows],
                class_weight=self._class_weights, return_dict=True,
            )  # fmt: skip
            sums += len(rows) * np.array([found["loss"], found["accuracy"]], dtype=float)
        loss, accuracy = sums / len(order)
        return float(loss), float(accuracy)

    def outputs(self, features: Floats) -> NDArray[np.float64]:
        """Shares of 1 (n, 8) among all outputs of the head as it now is: what losses are of."""
        raw = np.asarray(self._model.predict_on_batch(features), dtype=np.float64)
        return as_probabilities(raw, np.arange(len(EMOTIONS), dtype=np.int8))

    def probabilities(self, features: Floats) -> NDArray[np.float64]:
        """Class probabilities (n, 8); 0 for classes that the experiment does not have."""
        return as_probabilities(self.outputs(features), self._data.codes)

    def take_best(self) -> "HeadTraining":
        """Go back to the weights of the best epoch."""
        self._model.set_weights(self._best_weights)
        return self

    def save(self, file: Path) -> None:
        """Write the head as `.keras`, under its name only once it is complete."""
        temporary = file.with_name(f".{file.stem}.tmp.keras")
        self._model.save(temporary)
        temporary.replace(file)


def as_probabilities(raw: NDArray[np.float64], codes: NDArray[np.int8]) -> NDArray[np.float64]:
    """A head's outputs (n, 8) as shares of 1: those of a sigmoid need not add up to it.

    It is what Keras's own cross-entropy does with them. Classes that are none of `codes` have 0.
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
        jit_compile=False,  # compiling takes longer than all epochs
    )
    return model


def _callbacks(keras: Any, settings: HeadSettings, model: Any) -> list[Any]:
    """Keras's own, on validation loss."""
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
    """So that each class that is fitted weighs the same, and images 1 on average."""
    if settings.class_weights == "none":
        return None
    codes, counts = np.unique(labels, return_counts=True)
    weights = dict.fromkeys(range(len(EMOTIONS)), 0.0)
    return weights | {
        int(code): len(labels) / (len(codes) * int(n))
        for code, n in zip(codes, counts, strict=True)
    }


def train_head(settings: HeadSettings, data: HeadData, seed: int) -> HeadTraining:
    """A head after all its epochs, with the weights of its best one."""
    training = HeadTraining(settings, data, seed)
    while not training.finished:
        training.run_epoch()
    return training.take_best()
