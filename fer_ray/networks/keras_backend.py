"""Keras on the backend of the user's choice, without its notices."""

import contextlib
import importlib
import importlib.util
import os
import sys
from types import ModuleType

from fer_ray.errors import UserError
from fer_ray.networks.library_messages import without_notices

BACKENDS = ("tensorflow", "jax", "torch")
# What TensorFlow says at its start whatever TF_CPP_MIN_LOG_LEVEL is (tensorflow#100442): that it
# has not set up its log yet, and information (I) about this machine.
NOTICES = ("^WARNING: All log messages before absl::InitializeLog", "^I0000 ")


def load_keras(threads: int | None = None, gpu_share: float = 0) -> ModuleType:
    """The module keras, on the backend that KERAS_BACKEND names, TensorFlow by default.

    Args:
        threads: Processors that it may use, if this process has not loaded it before. None: all.
        gpu_share: Of a GPU that this process may use; memory is then taken as it is needed. 0: GPUs
            are hidden, since another process may own them.

    Raises:
        UserError: Keras or its backend is missing, or the backend sees no GPU where it may use one.
    """
    backend = require_backend()
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")
    os.environ.setdefault("JAX_DEFAULT_MATMUL_PRECISION", "float32")  # as `_use_whole_floats` does
    if threads is not None:
        for name in ("TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS", "OMP_NUM_THREADS"):
            os.environ[name] = str(threads)
    if not gpu_share:
        os.environ["CUDA_VISIBLE_DEVICES"] = "-1"
    try:
        with without_notices(*NOTICES) if "keras" not in sys.modules else contextlib.nullcontext():
            import keras
    except ImportError as problem:
        raise _missing(backend, str(problem)) from None
    if gpu_share:
        _require_gpu(backend)
        _use_whole_floats(backend)
    return keras  # type: ignore[no-any-return]


def require_backend() -> str:
    """The backend that KERAS_BACKEND names, TensorFlow by default. Nothing is loaded yet.

    Raises:
        UserError: There is no such backend, or its library is not here.
    """
    named = os.environ.get("KERAS_BACKEND") or BACKENDS[0]
    if named not in BACKENDS:
        raise UserError(f"KERAS_BACKEND is {named!r}. Take one of {', '.join(BACKENDS)}.")
    if importlib.util.find_spec(named) is None:
        raise _missing(named, f"there is no library {named} here")
    os.environ["KERAS_BACKEND"] = named
    return named


def _missing(backend: str, problem: str) -> UserError:
    return UserError(
        f"Keras on {backend} cannot be loaded: {problem}. Install it, pip install {backend}, or "
        "name another backend in KERAS_BACKEND."
    )


def _require_gpu(backend: str) -> None:
    """See that a GPU that Ray has given is used: all backends would go on without, slowly."""
    if backend == "tensorflow":
        import tensorflow as tf

        seen = tf.config.list_physical_devices("GPU")
        with contextlib.suppress(RuntimeError):  # already in use: then it was set before
            for gpu in seen:
                tf.config.experimental.set_memory_growth(gpu, True)
    elif backend == "torch":
        seen = [None] * importlib.import_module("torch").cuda.device_count()
    else:
        jax = importlib.import_module("jax")
        seen = [device for device in jax.devices() if device.platform == "gpu"]
    if not seen:
        raise UserError(
            f"Ray has given a GPU, and {backend} sees none. Install its libraries, "
            'pip install "fer_ray[gpu]" for TensorFlow, or leave out --gpus-per-worker.'
        )


def _use_whole_floats(backend: str) -> None:
    """Have a GPU multiply float32 as processors do, and not round it to TF32's 10 bits first.

    Features of an image are then the same wherever they are computed, to 1e-4.
    """
    if backend == "tensorflow":
        import tensorflow as tf

        tf.config.experimental.enable_tensor_float_32_execution(False)
    elif backend == "torch":
        torch = importlib.import_module("torch")
        torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = False
