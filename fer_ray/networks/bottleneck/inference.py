"""Keras applications optimised for inference: the same outputs in less time."""

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fer_ray.networks.keras_backend import keras_defaults
from fer_ray.settings.backbones import BackboneSpec

Weights = list[NDArray[np.float32]]
BFLOAT16 = {"avx512_bf16", "amx_bf16"}  # CPU flags of its instructions


def is_slow_in_bfloat16(cpuinfo: Path = Path("/proc/cpuinfo")) -> bool:
    """Return whether the CPUs of this machine are slower in bfloat16 than in float32."""
    try:
        flags = [line for line in cpuinfo.read_text().splitlines() if line.startswith("flags")]
    except OSError:
        return False
    return bool(flags) and BFLOAT16.isdisjoint(flags[0].split())


def build_application(keras: ModuleType, spec: BackboneSpec, **options: str) -> Any:
    """Keras's application without its top, with random weights, in the precision of `spec`."""
    with _precision(keras, spec.precision):
        return getattr(keras.applications, spec.application)(
            include_top=False,
            weights=None,
            input_shape=(spec.input_px, spec.input_px, 3),
            **options,
            **spec.options,
        )


@contextmanager
def _precision(keras: ModuleType, precision: str) -> Iterator[None]:
    """Layers created inside the block compute in `float32`, or in `bfloat16` on float32 weights."""
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy("float32" if precision == "float32" else f"mixed_{precision}")
    try:
        yield
    finally:
        keras.config.set_dtype_policy(before)


def optimise_for_inference(keras: ModuleType, model: Any) -> Any:
    """A copy of `model` for inference, equal up to the rounding of float32.

    A batch normalisation directly after a convolution is folded into its weights. Grouped
    convolutions with one channel per group, as in Keras's ConvNeXt, become depthwise convolutions,
    since TensorFlow computes grouped ones slowly on CPUs.
    """
    norms = _norms_after_convolutions(keras, model)
    folded = {norm.name for norm in norms.values()}

    def copy_layer(layer: Any) -> Any:
        settings = layer.get_config()
        if layer.name in norms:
            settings["use_bias"] = True
        if not _is_depthwise(layer):
            return type(layer).from_config(settings)
        settings["depth_multiplier"] = settings.pop("filters") // settings.pop("groups")
        for part in ("initializer", "regularizer", "constraint"):
            settings[f"depthwise_{part}"] = settings.pop(f"kernel_{part}")
        return keras.layers.DepthwiseConv2D.from_config(settings)

    def call_layer(layer: Any, *inputs: Any, **options: Any) -> Any:
        return inputs[0] if layer.name in folded else layer(*inputs, **options)

    clone = keras.models.clone_model(model, clone_function=copy_layer, call_function=call_layer)
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
    """Batch normalisations that are the only user of a convolution's output, by its name."""
    layers = model.layers
    sources = {id(layer.output): layer for layer in layers if _is_convolution(keras, layer)}
    users = Counter(id(tensor) for layer in layers for tensor in keras.tree.flatten(layer.input))
    norms = [layer for layer in layers if isinstance(layer, keras.layers.BatchNormalization)]
    return {
        sources[id(norm.input)].name: norm
        for norm in norms
        if id(norm.input) in sources and users[id(norm.input)] == 1
    }


def _is_convolution(keras: ModuleType, layer: Any) -> bool:
    kinds = (keras.layers.Conv2D, keras.layers.DepthwiseConv2D, keras.layers.SeparableConv2D)
    return isinstance(layer, kinds) and layer.activation is keras.activations.linear


def _is_depthwise(layer: Any) -> bool:
    groups = getattr(layer, "groups", 1)
    return bool(groups > 1 and layer.kernel.shape[2] == 1)  # rows, columns, channels per group


def _with_norm(keras: ModuleType, layer: Any, weights: Weights, norm: Any) -> Weights:
    """A convolution's weights, bias last, with the normalisation after it folded in."""
    *affine, mean, variance = norm.get_weights()  # gamma and beta first, if used
    scale = 1 / np.sqrt(np.float64(variance) + norm.epsilon)
    scale = scale * affine.pop(0) if norm.scale else scale
    shift = -mean * scale
    shift = shift + affine.pop(0) if norm.center else shift
    if layer.use_bias:
        shift = shift + weights.pop() * scale
    last = weights.pop()  # the pointwise kernel of a separable convolution
    by_channel = isinstance(layer, keras.layers.DepthwiseConv2D)
    last = last * (scale.reshape(last.shape[2:]) if by_channel else scale)
    return [np.asarray(values, np.float32) for values in (*weights, last, shift)]


def compile_forward(keras: ModuleType, model: Any, gpu_share: float) -> Callable[[Any], Any]:
    """The forward pass as a compiled function of a batch of any size.

    Args:
        keras: The module.
        model: A Keras model.
        gpu_share: Share of a GPU that this process may use. 0: none.
    """
    compiled = _compile(keras, model)

    def forward(batch: Any) -> Any:
        with keras_defaults(gpu_share):
            return compiled(batch)

    return forward


def _compile(keras: ModuleType, model: Any) -> Callable[[Any], Any]:
    """Compile a model; on TensorFlow one graph for all sizes, unlike `predict_on_batch`."""
    if keras.backend.backend() != "tensorflow":
        return model.predict_on_batch  # type: ignore[no-any-return]
    import tensorflow as tf

    signature = [tf.TensorSpec((None, *model.input_shape[1:]), tf.float32)]
    return tf.function(  # type: ignore[no-any-return]
        lambda batch: model(batch, training=False), input_signature=signature
    )
