"""Inputs and outputs of an ONNX file, read from its Protocol Buffers without the package `onnx`.

OpenCV runs ONNX networks but does not say which inputs they have. Field numbers are those of
`onnx.proto` (https://github.com/onnx/onnx/blob/main/onnx/onnx.proto).
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from fer_ray.errors import UserError

Shape = tuple[int | None, ...]
Field = tuple[int, int | memoryview]

GRAPH = 7  # field of a model
INITIALIZER, INPUT, OUTPUT = 5, 11, 12  # fields of a graph
VALUE_NAME, VALUE_TYPE = 1, 2
TENSOR_TYPE, TENSOR_SHAPE, DIMENSION, DIMENSION_VALUE = 1, 2, 1, 1
TENSOR_NAME, TENSOR_LOCATION = 8, 14
EXTERNAL = 1  # the location of values in another file
VARINT, LENGTH = 0, 2  # types on the wire
FIXED_BYTES = {1: 8, 5: 4}  # sizes of the types of fixed length
MAX_SHIFT = 63


@dataclass(frozen=True)
class OnnxHeader:
    """Inputs and outputs of an ONNX network, by name; None stands for a variable dimension."""

    inputs: dict[str, Shape]
    outputs: dict[str, Shape]


def read_header(file: Path) -> OnnxHeader:
    """Read inputs and outputs of an ONNX file.

    Raises:
        UserError: It is not an ONNX file, or its weights are in other files.
    """
    try:
        content = memoryview(file.read_bytes())
        graphs = [value for number, value in _fields(content) if number == GRAPH]
        graph = list(_fields(_message(graphs[0])))
        weights = [
            dict(_fields(_message(value))) for number, value in graph if number == INITIALIZER
        ]
        names = {_text(tensor[TENSOR_NAME]) for tensor in weights if TENSOR_NAME in tensor}
        inputs, outputs = (
            dict(_value(_message(value)) for number, value in graph if number == kind)
            for kind in (INPUT, OUTPUT)
        )
    except (IndexError, KeyError, TypeError, ValueError):
        raise UserError(
            f"{file} is not an ONNX file. Pass a network that was exported to ONNX."
        ) from None
    if any(tensor.get(TENSOR_LOCATION) == EXTERNAL for tensor in weights):
        raise UserError(
            f"{file} stores its weights in other files. Export the network to a single file."
        )
    inputs = {name: shape for name, shape in inputs.items() if name not in names}
    return OnnxHeader(inputs, outputs)


def _value(message: memoryview) -> tuple[str, Shape]:
    fields = dict(_fields(message))
    tensor = dict(_fields(_message(fields[VALUE_TYPE])))
    shape = dict(_fields(_message(tensor[TENSOR_TYPE]))).get(TENSOR_SHAPE, memoryview(b""))
    sizes = [dict(_fields(_message(size))) for number, size in _fields(_message(shape))
             if number == DIMENSION]  # fmt: skip
    return _text(fields[VALUE_NAME]), tuple(_size(size.get(DIMENSION_VALUE)) for size in sizes)


def _size(value: int | memoryview | None) -> int | None:
    return value if isinstance(value, int) and value > 0 else None


def _fields(message: memoryview) -> Iterator[Field]:
    """Number and value of each field of a message.

    Raises:
        ValueError: The bytes are not a message.
        IndexError: The message is incomplete.
    """
    at = 0
    while at < len(message):
        key, at = _varint(message, at)
        number, wire = key >> 3, key & 7
        if wire == VARINT:
            value, at = _varint(message, at)
            yield number, value
            continue
        size, at = _varint(message, at) if wire == LENGTH else (FIXED_BYTES[wire], at)
        if number == 0 or at + size > len(message):
            raise ValueError("not a Protocol Buffers message")
        yield number, message[at : at + size]
        at += size


def _varint(message: memoryview, at: int) -> tuple[int, int]:
    """A variable-length integer, and the position after it."""
    value = shift = 0
    while True:
        byte = message[at]
        value, at = value | (byte & 127) << shift, at + 1
        if byte < 128:
            return value, at
        shift += 7
        if shift > MAX_SHIFT:
            raise ValueError("not a variable-length integer")


def _message(value: int | memoryview) -> memoryview:
    if isinstance(value, int):
        raise TypeError("a number, not a message")
    return value


def _text(value: int | memoryview) -> str:
    return bytes(_message(value)).decode()
