"""Small networks in ONNX files."""

from pathlib import Path

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

WIDTH = 6
SIDE = 32
NODES = (
    helper.make_node("Conv", ["image", "kernel"], ["raw"], "conv", strides=[2, 2], pads=[1] * 4),
    helper.make_node("Relu", ["raw"], ["maps"], "relu"),
    helper.make_node("GlobalAveragePool", ["maps"], ["mean"], "pool"),
    helper.make_node("Flatten", ["mean"], ["flat"], "flatten"),
    helper.make_node("Gemm", ["flat", "dense"], ["logits"], "classifier"),
)
SHAPES = {
    "logits": ["batch", 4],
    "maps": ["batch", WIDTH, "rows", "columns"],
}


def write_onnx(
    file: Path,
    outputs: tuple[str, ...] = ("logits",),
    channels: int = 3,
    side: int | str = SIDE,
    inputs: tuple[str, ...] = ("image",),
    channels_last: bool = False,
    seed: int = 0,
) -> Path:
    """Write a convolution, an average and a dense layer, with random weights."""
    generator = np.random.default_rng(seed)
    kernel = generator.normal(size=(WIDTH, channels, 3, 3)).astype(np.float32)
    dense = generator.normal(size=(WIDTH, 4)).astype(np.float32)
    shape, nodes = ["batch", channels, side, side], list(NODES)
    if channels_last:
        shape = ["batch", side, side, channels]
        turn = helper.make_node("Transpose", ["image"], ["turned"], "turn", perm=[0, 3, 1, 2])
        nodes[0] = helper.make_node(
            "Conv", ["turned", "kernel"], ["raw"], "conv", strides=[2, 2], pads=[1] * 4
        )
        nodes.insert(0, turn)
    graph = helper.make_graph(
        nodes,
        "small",
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name in inputs],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, SHAPES[name]) for name in outputs],
        [numpy_helper.from_array(kernel, "kernel"), numpy_helper.from_array(dense, "dense")],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)]), file)
    return file


def reference_output(file: Path, pixels: NDArray[np.float32], name: str) -> NDArray[np.float32]:
    """An output of an ONNX network, by the reference implementation of the package `onnx`."""
    from onnx.reference import ReferenceEvaluator

    (output,) = ReferenceEvaluator(onnx.load(file)).run([name], {"image": pixels})
    return np.asarray(output, np.float32)
