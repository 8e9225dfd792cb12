"""Settings of the deep branch. The defaults are the `reference` setting: the study's own."""

from typing import Literal

from pydantic import Field, field_validator

from fer_ray.settings.backbones import BACKBONES
from fer_ray.settings.base import Strict

Optimizer = Literal["adam", "sgd", "rmsprop"]
Searcher = Literal["optuna", "random"]


class Augmentation(Strict):
    """Random draws of each training image; the ranges are the study's."""

    degrees: float = Field(50, ge=0, le=180)  # rotation, either way
    shift: float = Field(0.2, ge=0, lt=1)  # share of the side, either way, in x and in y
    flip: bool = True  # left to right
    seed: int = Field(0, ge=0)


class Deep(Strict):
    """Which backbones a whole run takes, and how images are drawn anew."""

    # NAME, or NAME=FILE of weights.
    backbones: tuple[str, ...] = ()
    augmentation: Augmentation = Augmentation()

    @field_validator("backbones")
    @classmethod
    def _known(cls, named: tuple[str, ...]) -> tuple[str, ...]:
        names = [name.partition("=")[0] for name in named]
        if not set(names) <= set(BACKBONES) or len(set(names)) < len(names):
            raise ValueError(f"take one or more of {', '.join(BACKBONES)}, each once")
        return named

    def weights(self) -> dict[str, str | None]:
        """The weights that were named for each backbone; None: its own."""
        return {name.partition("=")[0]: name.partition("=")[2] or None for name in self.backbones}


class HeadSettings(Strict):
    """A head on bottleneck features and its training."""

    epochs: int = Field(20, ge=1)
    batch_size: int = Field(20, ge=1)
    optimizer: Optimizer = "adam"
    learning_rate: float = Field(1e-3, gt=0)  # Keras's own default for Adam
    hidden: int = Field(0, ge=0)  # units of a layer between; 0: none
    dropout: float = Field(0, ge=0, lt=1)  # before the last layer
    weight_decay: float = Field(0, ge=0)  # L2 penalty on kernels
    label_smoothing: float = Field(0, ge=0, lt=1)
    class_weights: Literal["none", "balanced"] = "none"
    standardise: bool = False  # features to mean 0 and deviation 1 of the training images
    activation: Literal["softmax", "sigmoid"] = "softmax"  # sigmoid: a slip of the study
    validation_share: float = Field(0.2, gt=0, lt=1)  # of a trial's training part
    # Augmented features: each epoch takes the next draw of each training image, and after the last
    # the first again; 0: the images as they are.
    draws: int = Field(0, ge=0)
    steps_per_epoch: int | None = Field(None, ge=1)  # None: all training images
    reduce_lr_patience: int | None = Field(None, ge=0)  # epochs; the rate is then divided by 10
    stop_patience: int | None = Field(None, ge=0)  # epochs


_AUGMENTED = {
    "epochs": 10,
    "batch_size": 32,
    "draws": 10,
    "steps_per_epoch": 8,
    "reduce_lr_patience": 5,
    "stop_patience": 3,
}
# The study's heads by name. `augmented-reference` has the study's sigmoid, and belongs on the
# backbone `vgg16_raw`, which has its other slip; `augmented` is the corrected one beside it.
HEADS = {
    "reference": HeadSettings(),
    "augmented": HeadSettings.model_validate(_AUGMENTED),
    "augmented-reference": HeadSettings.model_validate(_AUGMENTED | {"activation": "sigmoid"}),
}


class HeadSearchSettings(Strict):
    """A search of heads on validation images; protocol and seed are those of the trials."""

    configurations: int = Field(50, ge=1)
    searcher: Searcher = "optuna"
    most_epochs: int = Field(80, ge=1)
    # Epochs before the first halving of ASHA, and its factor.
    grace_epochs: int = Field(10, ge=1)
    reduction: int = Field(3, ge=2)
    finalists: int = Field(3, ge=1)  # trained again with other seeds
    repeats: int = Field(3, ge=1)  # seeds of each finalist
    draws: int = Field(0, ge=0)  # as of a head: augmented draws to train on
