"""Settings of networks: backbones of a run, augmentation, heads, and the search over heads.

The defaults are the reference settings.
"""

from typing import Literal

from pydantic import Field, field_validator

from fer_ray.settings.backbones import BACKBONES, absolute_weights
from fer_ray.settings.base import StrictModel
from fer_ray.settings.feature_sets import is_file_network
from fer_ray.settings.network_interface import FORMATS, NetworkInterface

Optimizer = Literal["adam", "sgd", "rmsprop"]
Searcher = Literal["optuna", "random"]


class Augmentation(StrictModel):
    """Random draws of each training image; the ranges are those of the reference study."""

    degrees: float = Field(
        50, ge=0, le=180, description="Rotation by up to this angle, in either direction."
    )
    shift: float = Field(
        0.2, ge=0, lt=1, description="Shift by up to this share of the side, in x and in y."
    )
    flip: bool = Field(True, description="Random horizontal flip.")
    seed: int = Field(0, ge=0, description="Seed of the draws.")


def _with_absolute_weights(backbone: str) -> str:
    name, equals, weights = backbone.partition("=")
    return f"{name}{equals}{absolute_weights(weights)}"


class NetworkSettings(StrictModel):
    """The backbones of a complete run, and how images are augmented."""

    backbones: tuple[str, ...] = Field(
        (),
        description="A pretrained network: compute its features, and train a head and SVMs on "
        "them. FILE contains its weights, or a network of your own, which you name.",
    )
    interface: NetworkInterface = NetworkInterface()  # of all networks from the user's files
    interfaces: dict[str, NetworkInterface] = Field(
        default_factory=dict,
        description="The same for individual networks, by name, if they differ.",
    )
    augmentation: Augmentation = Augmentation()

    @field_validator("backbones")
    @classmethod
    def _require_known_backbones(cls, backbones: tuple[str, ...]) -> tuple[str, ...]:
        names = [backbone.partition("=")[0] for backbone in backbones]
        if len(set(names)) < len(names):
            raise ValueError("a backbone is specified twice")
        for backbone in backbones:
            require_backbone(*backbone.partition("=")[::2])
        return tuple(_with_absolute_weights(backbone) for backbone in backbones)

    def interface_of(self, name: str) -> NetworkInterface:
        """How the network of this name from the user's file is called."""
        return self.interfaces.get(name, self.interface)

    def weights(self) -> dict[str, str | None]:
        """The weights specified for each backbone; None: its default weights."""
        return {name.partition("=")[0]: name.partition("=")[2] or None for name in self.backbones}


def require_backbone(name: str, source: str | None) -> None:
    """Check that a backbone is in the table, or is a network from the user's file.

    Args:
        name: Name of the backbone.
        source: Its weights, or the file of the network; empty or None for its default weights.

    Raises:
        ValueError: The backbone is unknown, and `source` is not a network.
    """
    if name in BACKBONES:
        return
    if not is_file_network(name) or not source:
        raise ValueError(
            f"{name} is not a backbone: specify one of {', '.join(BACKBONES)}, or a network of "
            "your own as NAME=FILE, with a new name of letters, digits and _ and a file that ends "
            f"in {', '.join(FORMATS)}"
        )


class HeadSettings(StrictModel):
    """The architecture of a head on bottleneck features, and its training."""

    epochs: int = Field(20, ge=1)
    batch_size: int = Field(20, ge=1)
    optimizer: Optimizer = "adam"
    learning_rate: float = Field(1e-3, gt=0)  # Keras's default for Adam
    hidden: int = Field(0, ge=0, description="Units of the hidden layer; 0: no hidden layer.")
    dropout: float = Field(0, ge=0, lt=1, description="Dropout before the last layer.")
    weight_decay: float = Field(0, ge=0, description="L2 penalty on kernels.")
    label_smoothing: float = Field(0, ge=0, lt=1)
    class_weights: Literal["none", "sqrt", "balanced"] = Field(
        "none",
        description="Errors weigh more in rarer classes, in inverse proportion to their number of "
        "images (balanced) or to its square root (sqrt).",
    )
    standardise: bool = Field(
        False, description="Scale features to mean 0 and deviation 1 over the training images."
    )
    # sigmoid is a bug of the reference study and reproduces its figures.
    activation: Literal["softmax", "sigmoid"] = "softmax"
    calibrate: bool = Field(
        False, description="Divide the scores by a temperature, fitted to the validation images."
    )
    validation_share: float = Field(
        0.2, gt=0, lt=1, description="Share of a trial's training part used for validation."
    )
    draws: int = Field(
        0,
        ge=0,
        description="Augmented draws of each training image. Each epoch uses the next draw, and "
        "starts over after the last one; 0: the original images.",
    )
    steps_per_epoch: int | None = Field(
        None, ge=1, description="Batches per epoch; None: as many as the training images fill."
    )
    reduce_lr_patience: int | None = Field(
        None, ge=0, description="Epochs without improvement before the rate is divided by 10."
    )
    stop_patience: int | None = Field(
        None, ge=0, description="Epochs without improvement before training stops."
    )


_AUGMENTED = {
    "epochs": 10,
    "batch_size": 32,
    "draws": 10,
    "steps_per_epoch": 8,
    "reduce_lr_patience": 5,
    "stop_patience": 3,
}
# `default` is for any features. The others are those of the reference study: `augmented-reference`
# reproduces its sigmoid bug (its other bug is in the backbone `vgg16_raw`), and `augmented` is the
# corrected version.
HEADS = {
    "default": HeadSettings(
        epochs=200,
        batch_size=32,
        learning_rate=3e-3,
        weight_decay=0.03,
        class_weights="sqrt",
        standardise=True,
        calibrate=True,
        stop_patience=15,
    ),
    "reference": HeadSettings(),
    "augmented": HeadSettings.model_validate(_AUGMENTED),
    "augmented-reference": HeadSettings.model_validate(_AUGMENTED | {"activation": "sigmoid"}),
}


class HeadSearchSettings(StrictModel):
    """A search over heads on validation images; protocol and seed are those of the trials."""

    configurations: int = Field(50, ge=1, description="Configurations in each trial's search.")
    searcher: Searcher = Field("optuna", description="How configurations are chosen.")
    max_epochs: int = Field(80, ge=1, description="Maximum number of epochs.")
    grace_epochs: int = Field(10, ge=1, description="Epochs before ASHA may stop a configuration.")
    reduction: int = Field(3, ge=2, description="Reduction factor of ASHA.")
    finalists: int = Field(
        3, ge=1, description="Configurations that are retrained with other seeds."
    )
    repeats: int = Field(3, ge=1, description="Seeds of each finalist.")
    draws: int = Field(0, ge=0, description="Augmented draws to train on; 0: the original images.")
