"""Keras networks made ready to answer: the same numbers as the application's own, in less time."""

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fer_ray.settings.backbones import BackboneSpec

Weights = list[NDArray[np.float32]]
BFLOAT16 = {"avx512_bf16", "amx_bf16"}  # flags of processors that multiply it


def lacks_bfloat16(cpuinfo: Path = Path("/proc/cpuinfo")) -> bool:
    """Whether this machine's processors are known to be slower in bfloat16 than in float32."""
    try:
        flags = [line for line in cpuinfo.read_text().splitlines() if line.startswith("flags")]
    except OSError:
        return False
    return bool(flags) and BFLOAT16.isdisjoint(flags[0].split())


def application(keras: ModuleType, spec: BackboneSpec, **options: str) -> Any:
    """Keras's own network without its top, with random weights, computing in its precision."""
    with _computing_in(keras, spec.precision):
        return getattr(keras.applications, spec.application)(
            include_top=False,
            weights=None,
            input_shape=(spec.input_px, spec.input_px, 3),
            **options,
            **spec.options,
        )


@contextmanager
def _computing_in(keras: ModuleType, precision: str) -> Iterator[None]:
    """Layers that are made meanwhile compute in `float32`, or in `bfloat16` on float32 weights."""
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy("float32" if precision == "float32" else f"mixed_{precision}")
    try:
        yield
    finally:
        keras.config.set_dtype_policy(before)


def streamlined(keras: ModuleType, model: Any) -> Any:
    """`model` for inference alone: equal but for the rounding of float32.

    A batch normalisation right after a convolution becomes part of the latter's weights. Grouped
    convolutions with a group for each channel, as Keras's ConvNeXt has them, become the depthwise
    ones that they are: for the former TensorFlow's code for processors is slow.
    """
    norms = _norms_after_convolutions(keras, model)
    folded = {norm.name for norm in norms.values()}

    def copied(layer: Any) -> Any:
        settings = layer.get_config()
        if layer.name in norms:
            settings["use_bias"] = True
        if not _is_depthwise(layer):
            return type(layer).from_config(settings)
        settings["depth_multiplier"] = settings.pop("filters") // settings.pop("groups")
        for part in ("initializer", "regularizer", "constraint"):
            settings[f"depthwise_{part}"] = settings.pop(f"kernel_{part}")
        return keras.layers.DepthwiseConv2D.from_config(settings)

    def called(layer: Any, *inputs: Any, **how: Any) -> Any:
        return inputs[0] if layer.name in folded else layer(*inputs, **how)

    clone = keras.models.clone_model(model, clone_function=copied, call_function=called)
    for old in model.layers:
        if old.name in folded or not old.weights:
            continue
        new, weights = clone.get_layer(old.name), old.get_weights()
        if old.name in norms:
            weights = _with_norm(keras, old, weights, norms[old.name])
        if _is_depthwise(old):
            weights[0] = weights[0].reshape(new.kernel.shape)
        new.set_weights(weights)
    return clone


def _norms_after_convolutions(keras: ModuleType, model: Any) -> dict[str, Any]:
    """Batch normalisations that alone take a convolution's output, by the convolution's name."""
    made_by = {id(layer.output): layer for layer in model.layers if _is_convolution(keras, layer)}
    takers = Counter(id(one) for layer in model.layers for one in keras.tree.flatten(layer.input))
    norms = [one for one in model.layers if isinstance(one, keras.layers.BatchNormalization)]
    return {
        made_by[id(norm.input)].name: norm
        for norm in norms
        if id(norm.input) in made_by and takers[id(norm.input)] == 1
    }


def _is_convolution(keras: ModuleType, layer: Any) -> bool:
    kinds = (keras.layers.Conv2D, keras.layers.DepthwiseConv2D, keras.layers.SeparableConv2D)
    return isinstance(layer, kinds) and layer.activation is keras.activations.linear


def _is_depthwise(layer: Any) -> bool:
    groups = getattr(layer, "groups", 1)
    return bool(groups > 1 and layer.kernel.shape[2] == 1)  # rows, columns, channels of a group


def _with_norm(keras: ModuleType, layer: Any, weights: Weights, norm: Any) -> Weights:
    """A convolution's weights, its bias last, that do what the normalisation did after it."""
    *affine, mean, variance = norm.get_weights()  # its gamma and beta first, where it has them
    scale = 1 / np.sqrt(np.float64(variance) + norm.epsilon)
    scale = scale * affine.pop(0) if norm.scale else scale
    shift = -mean * scale
    shift = shift + affine.pop(0) if norm.center else shift
    if layer.use_bias:
        shift = shift + weights.pop() * scale
    last = weights.pop()  # of a separable convolution: the pointwise one
    by_channel = isinstance(layer, keras.layers.DepthwiseConv2D)
    last = last * (scale.reshape(last.shape[2:]) if by_channel else scale)
    return [np.asarray(values, np.float32) for values in (*weights, last, shift)]


def compiled(keras: ModuleType, model: Any) -> Callable[[Any], Any]:
    """`model` as a compiled function of a batch of any size.

    For TensorFlow one graph serves all sizes; Keras's own `predict_on_batch` would trace one more.
    """
    if keras.backend.backend() != "tensorflow":
        return model.predict_on_batch  # type: ignore[no-any-return]
    import tensorflow as tf

    signature = [tf.TensorSpec((None, *model.input_shape[1:]), tf.float32)]
    return tf.function(  # type: ignore[no-any-return]
        lambda batch: model(batch, training=False), input_signature=signature
    )
