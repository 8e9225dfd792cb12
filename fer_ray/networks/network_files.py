"""Networks from the user's files: ONNX on OpenCV's dnn module, complete Keras models on Keras."""

from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from fer_ray.errors import UserError
from fer_ray.networks.bottleneck.inference import compile_forward
from fer_ray.networks.keras_backend import keras_defaults, load_keras
from fer_ray.networks.network_arrays import pool_output, prepare_input
from fer_ray.settings.network_interface import FORMATS, FileFormat, FileNetwork

Crops = NDArray[np.uint8]
Floats = NDArray[np.float32]

NODE = "onnx_node!"  # how OpenCV begins the name of a layer that is a named ONNX node


class OnnxNetwork:
    """An ONNX network on OpenCV's dnn module.

    Args:
        file: The ONNX file.
        network: How to call it.
        maps: Return feature maps instead of pooled features.

    Raises:
        UserError: OpenCV cannot read the file, or it has no such output.
    """

    def __init__(self, file: Path, network: FileNetwork, maps: bool = False) -> None:
        self._file, self._network, self._maps = file, network, maps
        level = cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)
        try:
            self._net = cv2.dnn.readNetFromONNX(str(file))
        except cv2.error as problem:
            raise _not_supported(file, problem) from None
        finally:
            cv2.utils.logging.setLogLevel(level)
        self._output = self._find_output(network.output)

    def __call__(self, crops: Crops, _: NDArray[np.float32] | None = None) -> Floats:
        """Compute features (n, width) of crops (n, size, size), each alone."""
        outputs = [self.forward(crops[row : row + 1]) for row in range(len(crops))]
        return pool_output(np.concatenate(outputs), self._network, self._maps)

    def forward(self, crop: Crops) -> Floats:
        """The network's output for a crop (1, size, size) uint8.

        Raises:
            UserError: OpenCV cannot run the network on it.
        """
        try:
            self._net.setInput(prepare_input(crop, self._network))
            return np.array(self._net.forward(self._output), np.float32)
        except cv2.error as problem:
            raise _not_supported(self._file, problem) from None

    def _find_output(self, name: str | None) -> str:
        """OpenCV's name of an output or inner layer; by default, of the only output."""
        layers, outputs = self._net.getLayerNames(), self._net.getUnconnectedOutLayersNames()
        if name is None and len(outputs) == 1:
            return str(outputs[0])
        for layer in (name, f"{NODE}{name}"):
            if layer in layers:
                return str(layer)
        raise output_error(self._file, name, [one.removeprefix(NODE) for one in outputs])


class KerasNetwork:
    """A complete Keras model.

    Args:
        file: The `.keras` or `.h5` file.
        network: How to call it.
        maps: Return feature maps instead of pooled features.
        threads: CPUs that Keras may use. None: all.
        gpu_share: Share of a GPU that this process may use. 0: none.

    Raises:
        UserError: The file is not a complete Keras model, or it has no such output.
    """

    def __init__(
        self,
        file: Path,
        network: FileNetwork,
        maps: bool = False,
        threads: int | None = None,
        gpu_share: float = 0,
    ) -> None:
        self._network, self._maps = network, maps
        keras = load_keras(threads, gpu_share)
        with keras_defaults(gpu_share):
            model = load_keras_model(keras, file, network.output)
        self._forward = compile_forward(keras, model, gpu_share)

    def __call__(self, crops: Crops, _: NDArray[np.float32] | None = None) -> Floats:
        """Compute features (n, width) of crops (n, size, size)."""
        outputs = np.asarray(self._forward(prepare_input(crops, self._network)), np.float32)
        return pool_output(outputs, self._network, self._maps)


def load_keras_model(keras: Any, file: Path, output: str | None) -> Any:
    """Load a complete Keras model, up to one of its layers.

    Args:
        keras: The module.
        file: The `.keras` or `.h5` file. Code in it is not run.
        output: Name of the layer. None: the only output.

    Raises:
        UserError: The file is not a complete Keras model, or it has no such output.
    """
    try:
        model = keras.saving.load_model(file, compile=False, safe_mode=True)
    except Exception as problem:  # Keras raises many types
        reason = (str(problem).strip() or repr(problem)).splitlines()[0].rstrip(".")
        raise UserError(
            f"Keras cannot load {file} as a complete model: {reason}. Save the model with "
            "`model.save`, without custom layers or functions. If the file has the weights of a "
            "listed network, pass it under that name, such as mobilenet=FILE."
        ) from None
    if output is None and len(model.outputs) == 1:
        return model
    if output not in [layer.name for layer in model.layers]:
        outputs = getattr(model, "output_names", [layer.name for layer in model.layers[-1:]])
        raise output_error(file, output, outputs)
    return keras.Model(model.inputs, model.get_layer(output).output)


def file_format(file: Path) -> FileFormat:
    """The format of a network file, by its suffix.

    Raises:
        UserError: The suffix is that of another format.
    """
    if file.suffix.lower() not in FORMATS:
        raise UserError(
            f"The format of the network {file} is unknown. Pass a file that ends in "
            f"{', '.join(FORMATS)}."
        )
    return FORMATS[file.suffix.lower()]


def output_error(file: Path, name: str | None, outputs: list[str]) -> UserError:
    """The error for a network whose output is not clear."""
    what = f"has {len(outputs)} outputs" if name is None else f"has no output or layer {name}"
    return UserError(f"{file} {what}. Choose one as --output: {', '.join(outputs)}, or a layer.")


def _not_supported(file: Path, problem: cv2.error) -> UserError:
    reason = " ".join(problem.err.replace(">", " ").split()).rstrip(". ")
    return UserError(
        f"OpenCV {cv2.__version__} cannot run the network {file}: {reason}. Export it with a fixed "
        "input size and common operators, or pass it as a Keras model."
    )
