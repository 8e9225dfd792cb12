"""Inspect a network from the user's file: its input, its output, and whether it can be used."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np

from fer_ray.errors import UserError
from fer_ray.networks.keras_backend import load_keras, require_backend
from fer_ray.networks.network_files import OnnxNetwork, file_format, load_keras_model
from fer_ray.networks.onnx_header import Shape, read_header
from fer_ray.process_environment import fix_environment
from fer_ray.settings.backbones import BACKBONES, BackboneSpec, file_backbone
from fer_ray.settings.network_interface import FileNetwork, NetworkInterface
from fer_ray.settings.networks import NetworkSettings, require_backbone
from fer_ray.storage.downloads import local_copy
from fer_ray.storage.paths import to_path

CHANNELS = (1, 3)


def find_backbone(name: str, source: str | None, settings: NetworkSettings) -> BackboneSpec:
    """Find a backbone in the table, or describe the network in a file.

    Args:
        name: Name of the backbone.
        source: Its weights, or the file of the network. None: the weights in the table.
        settings: How networks from files are called.

    Raises:
        UserError: The backbone does not exist, or the file does not fit.
    """
    if name in BACKBONES:
        return BACKBONES[name]
    try:
        require_backbone(name, source)
    except ValueError as problem:
        raise UserError(f"{problem}.") from None
    return describe_network(name, str(source), settings.interface_of(name))


def describe_network(name: str, source: str, interface: NetworkInterface) -> BackboneSpec:
    """Describe a network from the user's file as a backbone.

    Args:
        name: The name that the user gives it.
        source: Path or URI of the file.
        interface: What the user specifies about input and output.

    Raises:
        UserError: The file is missing, is not a network, or its input or output does not fit.

    Examples:
        ```python
        interface = NetworkInterface(mean=(127.5,), std=(127.5,))
        spec = describe_network("arcface", "arcface.onnx", interface)
        features = Backbone(spec, Path("arcface.onnx"))(crops)  # (n, 350, 350) -> (n, 512)
        ```
    """
    try:
        file = local_copy(to_path(source))
    except FileNotFoundError:
        raise UserError(
            f"The network {source} does not exist. Correct the path in {name}=FILE."
        ) from None
    if file_format(file) == "onnx":
        header = read_header(file)
        network = _with_input(file, interface, header.inputs)
        if interface.output not in (None, *header.outputs):  # layers of ONNX have channels first
            network = network.model_copy(update={"maps_channels_first": True})
        blank = np.zeros((1, network.input_px, network.input_px), np.uint8)
        shape: Shape = OnnxNetwork(file, network).forward(blank).shape
    else:
        inputs, shape = _keras_shapes(file, interface.output)
        network = _with_input(file, interface, inputs)
    return file_backbone(name, _with_output(file, network, shape))


def _with_input(file: Path, interface: NetworkInterface, inputs: dict[str, Shape]) -> FileNetwork:
    """The network with its input, as in the file or as specified by the user."""
    shape = _only_input(file, inputs)
    channels_first = shape[1] in CHANNELS
    channels = shape[1] if channels_first else shape[3]
    colours = interface.colours or ("gray" if channels == 1 else "rgb")
    if (colours == "gray") != (channels == 1):
        raise UserError(
            f"The input of {file} has {channels} channels, which do not match --colours "
            f"{colours}. Correct --colours, or omit it."
        )
    return FileNetwork(
        format=file_format(file),
        input_px=_input_px(file, shape[2:] if channels_first else shape[1:3], interface.input_px),
        colours=colours,
        channels_first=channels_first,
        maps_channels_first=channels_first,
        mean=interface.mean,
        std=interface.std,
        output=interface.output,
        width=1,  # until the output is known
        map_shape=None,
    )


def _only_input(file: Path, inputs: dict[str, Shape]) -> Shape:
    if len(inputs) != 1:
        raise UserError(
            f"{file} has {len(inputs)} inputs ({', '.join(inputs)}). Pass a network whose only "
            "input is an image."
        )
    name, shape = next(iter(inputs.items()))
    if len(shape) != 4 or not {shape[1], shape[3]} & {*CHANNELS}:
        raise UserError(
            f"The input {name} of {file} has the shape {_text(shape)}. Pass a network for images "
            "of 1 or 3 channels: batch × channels × rows × columns, or batch × rows × columns × "
            "channels."
        )
    return shape


def _input_px(file: Path, sides: Shape, specified: int | None) -> int:
    found = {side for side in sides if side is not None}
    if len(found) > 1:
        raise UserError(
            f"The input of {file} has {_text(sides)} pixels. Pass a network with a square input."
        )
    side = specified or next(iter(found), None)
    if side is None:
        raise UserError(f"{file} accepts images of any size. Pass the side as --input-px.")
    if found - {side}:
        raise UserError(
            f"The input of {file} has {_text(sides)} pixels, not {side}×{side}. Omit --input-px."
        )
    return side


def _with_output(file: Path, network: FileNetwork, shape: Shape) -> FileNetwork:
    """The network with the width and map shape of its output for one image."""
    first = len(shape) == 2 or network.maps_channels_first
    width = shape[1 if first else -1] if len(shape) in (2, 4) else None
    if width is None or shape[0] not in (None, 1):
        raise UserError(
            f"The output of {file} has the shape {_text(shape)}. Pass a network that returns a "
            "vector or a feature map for each image, or choose one of its layers as --output."
        )
    size = shape[2:] if first else shape[1:3]
    map_shape = size if size and None not in size else None
    return network.model_copy(update={"width": width, "map_shape": map_shape})


def _text(shape: Shape) -> str:
    return "×".join("?" if size is None else str(size) for size in shape)


def _keras_shapes(file: Path, output: str | None) -> tuple[dict[str, Shape], Shape]:
    """Shapes of the inputs and of the output of a Keras model, found in another process.

    In this process, Keras would hide the GPUs from Ray.
    """
    require_backend()
    command = [sys.executable, "-m", __name__, str(file), json.dumps(output)]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    found = json.loads(done.stdout.splitlines()[-1])
    if "error" in found:
        raise UserError(found["error"])
    return {name: tuple(shape) for name, shape in found["inputs"]}, tuple(found["output"])


def _print_keras_shapes(file: Path, output: str | None) -> None:
    found: dict[str, Any]
    try:
        model = load_keras_model(load_keras(threads=1), file, output)
    except UserError as problem:
        found = {"error": str(problem)}
    else:
        inputs = [(tensor.name, tensor.shape) for tensor in model.inputs]
        found = {"inputs": inputs, "output": model.outputs[0].shape}
    sys.stdout.write(f"{json.dumps(found)}\n")


if __name__ == "__main__":
    fix_environment()
    _print_keras_shapes(Path(sys.argv[1]), json.loads(sys.argv[2]))
