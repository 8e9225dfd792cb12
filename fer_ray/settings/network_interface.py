"""How a network from the user's file is called: its input, normalisation and output."""

import re
from typing import Any, Literal

from pydantic import Field, field_validator

from fer_ray.settings.base import StrictModel

Colours = Literal["rgb", "bgr", "gray"]
FileFormat = Literal["onnx", "keras"]

# By suffix of the file. `.h5` files of Keras contain a model, or weights alone.
FORMATS: dict[str, FileFormat] = {
    ".onnx": "onnx",
    ".keras": "keras",
    ".h5": "keras",
    ".hdf5": "keras",
}
NAME = re.compile("[A-Za-z][A-Za-z0-9_]*")  # other characters separate the parts of names


class NetworkInterface(StrictModel):
    """Input and output of a network from the user's file, where the file does not define them."""

    input_px: int | None = Field(
        None,
        ge=8,
        le=2048,
        description="Side of the input of a network from a file, in pixels; by default, the size "
        "in the file.",
    )
    colours: Colours | None = Field(
        None, description="Order of its channels; by default rgb, or gray for a single channel."
    )
    mean: tuple[float, ...] = Field(
        (0.0,),
        description="Subtracted from its pixels (0 to 255): one number, or one each for red, "
        "green and blue.",
    )
    std: tuple[float, ...] = Field(
        (1.0,), description="Divides its pixels after that: one number, or three."
    )
    output: str | None = Field(
        None, description="Name of the output to use, if the network has several."
    )

    @field_validator("mean", "std", mode="before")
    @classmethod
    def _accept_a_number(cls, values: Any) -> Any:
        return (values,) if isinstance(values, int | float) else values

    @field_validator("mean", "std")
    @classmethod
    def _one_or_three(cls, values: tuple[float, ...]) -> tuple[float, ...]:
        if len(values) not in (1, 3):
            raise ValueError("specify one number, or three in the order red, green, blue")
        return values

    @field_validator("std")
    @classmethod
    def _positive(cls, values: tuple[float, ...]) -> tuple[float, ...]:
        if min(values) <= 0:
            raise ValueError("must be greater than 0")
        return values


class FileNetwork(StrictModel):
    """A network from the user's file, as found in the file and specified by the user.

    Attributes:
        format: Format of the file.
        input_px: Side of its square input.
        colours: Order of its channels.
        channels_first: Whether channels precede rows and columns in the input.
        maps_channels_first: The same for the output, if it has rows and columns.
        mean: Subtracted from pixels (0 – 255): one number, or those of red, green and blue.
        std: What the differences are divided by.
        output: Name of the output; None for Keras.
        width: Features per image.
        map_shape: Rows and columns of the output that is averaged to features; None for an output
            without them.
    """

    format: FileFormat
    input_px: int
    colours: Colours
    channels_first: bool
    maps_channels_first: bool
    mean: tuple[float, ...]
    std: tuple[float, ...]
    output: str | None
    width: int
    map_shape: tuple[int, int] | None

    @property
    def preprocessing(self) -> str:
        """What is applied to the crop, in words."""
        if self.mean == (0,) and self.std == (1,):
            return f"none: 0 – 255, {self.colours}"
        return f"{self.colours}, minus {_listed(self.mean)}, divided by {_listed(self.std)}"


def _listed(values: tuple[float, ...]) -> str:
    return "/".join(f"{value:.9g}" for value in values)
