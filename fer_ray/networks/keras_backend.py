"""Import of Keras on the backend that the user chooses, without start-up messages."""

import contextlib
import importlib
import importlib.util
import os
import sys
from collections.abc import Iterator
from types import ModuleType
from typing import Any

from fer_ray.errors import UserError
from fer_ray.networks.library_messages import filter_stderr
from fer_ray.process_environment import (
    change_environment,
    environment_changed,
    is_own_process,
    overrides_removed,
)

BACKENDS = ("tensorflow", "jax", "torch")
# Lines that TensorFlow writes at import for any TF_CPP_MIN_LOG_LEVEL (tensorflow#100442): that its
# log is not initialised yet, and information (I) about the machine.
TENSORFLOW_LINES = ("^WARNING: All log messages before absl::InitializeLog", "^I0000 ")

DEFAULTS = "float32", 1e-7, "channels_last", "float32"  # floatx, epsilon, image format, policy


def load_keras(threads: int | None = None, gpu_share: float = 0) -> ModuleType:
    """Import keras on the backend of KERAS_BACKEND, by default TensorFlow.

    Args:
        threads: CPUs that Keras may use. None: all. Ignored in a program of the user, and if this
            process has already imported the backend.
        gpu_share: Share of a GPU that this process may use; GPU memory is allocated as needed.
            0: GPUs are hidden from processes of fer_ray, since another process may own them.

    Raises:
        UserError: Keras or its backend is not installed, or the backend does not see the GPU.
    """
    backend = require_backend()
    first = "keras" not in sys.modules
    try:
        with (
            _environment(backend, threads, gpu_share),
            filter_stderr(*TENSORFLOW_LINES) if first else contextlib.nullcontext(),
        ):
            import keras
    except ImportError as problem:
        raise _cannot_import(backend, str(problem)) from None
    except (ValueError, AttributeError) as problem:  # errors in the configuration file of Keras
        raise UserError(
            f"Keras cannot be imported: {problem}. Correct or remove keras.json in KERAS_HOME (by "
            "default ~/.keras)."
        ) from None
    if is_own_process():
        _configure(keras.config, *DEFAULTS)
    if gpu_share:
        _require_gpu(backend)
        _disable_tf32(backend)
    return keras  # type: ignore[no-any-return]


@contextlib.contextmanager
def keras_defaults(gpu_share: float = 0) -> Iterator[None]:
    """Compute with Keras's default configuration inside the block, and restore the program's.

    Settings of `keras.json` or of the user's program would change results. Without a share of a
    GPU, the block computes on CPUs.

    Args:
        gpu_share: As for `load_keras`, which must have been called.
    """
    import keras

    config = keras.config
    before = config.floatx(), config.epsilon(), config.image_data_format(), config.dtype_policy()
    _configure(config, *DEFAULTS)
    try:
        with contextlib.nullcontext() if gpu_share else keras.device("cpu:0"):
            yield
    finally:
        _configure(config, *before)


def _configure(config: Any, floatx: str, epsilon: float, image_format: str, policy: Any) -> None:
    config.set_floatx(floatx)
    config.set_epsilon(epsilon)
    config.set_image_data_format(image_format)
    config.set_dtype_policy(policy)


@contextlib.contextmanager
def _environment(backend: str, threads: int | None, gpu_share: float) -> Iterator[None]:
    """The environment in which Keras is imported; it stays in processes of fer_ray.

    In a program of the user, it is restored after the import, and the program's settings apply to
    threads and devices.
    """
    changes: dict[str, str | None] = {
        **overrides_removed(),
        "KERAS_BACKEND": backend,
        "TF_CPP_MIN_LOG_LEVEL": os.environ.get("TF_CPP_MIN_LOG_LEVEL", "3"),
        "JAX_DEFAULT_MATMUL_PRECISION": "float32",  # see _disable_tf32
    }
    if not is_own_process():
        with environment_changed(changes):
            yield
        return
    change_environment({**changes, **_resources(threads, gpu_share)})
    yield


def _resources(threads: int | None, gpu_share: float) -> dict[str, str]:
    """Variables that limit the CPUs and GPUs of a process."""
    preallocate = os.environ.get("XLA_PYTHON_CLIENT_PREALLOCATE", "false")
    variables = {"XLA_PYTHON_CLIENT_PREALLOCATE": preallocate}
    if threads is not None:
        names = ("TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS", "OMP_NUM_THREADS")
        variables |= dict.fromkeys(names, str(threads))
    return variables if gpu_share else {**variables, "CUDA_VISIBLE_DEVICES": "-1"}


def require_backend() -> str:
    """The backend of KERAS_BACKEND, by default TensorFlow. Does not import it.

    Raises:
        UserError: The backend is unknown or not installed.
    """
    backend = os.environ.get("KERAS_BACKEND") or BACKENDS[0]
    if backend not in BACKENDS:
        raise UserError(f"KERAS_BACKEND is {backend!r}. Set it to one of {', '.join(BACKENDS)}.")
    if importlib.util.find_spec(backend) is None:
        raise _cannot_import(backend, f"{backend} is not installed")
    if is_own_process():
        os.environ["KERAS_BACKEND"] = backend  # of workers on other nodes too
    return backend


def _cannot_import(backend: str, problem: str) -> UserError:
    return UserError(
        f"Cannot import Keras on {backend}: {problem}. Install it (pip install {backend}), or set "
        "KERAS_BACKEND to another backend."
    )


def _require_gpu(backend: str) -> None:
    """Check that the backend sees the GPU; without one, backends silently use the CPU."""
    if backend == "tensorflow":
        import tensorflow as tf

        gpus = tf.config.list_physical_devices("GPU")
        with contextlib.suppress(RuntimeError):  # already initialised: then it was set before
            for gpu in gpus:
                tf.config.experimental.set_memory_growth(gpu, True)
    elif backend == "torch":
        gpus = [None] * importlib.import_module("torch").cuda.device_count()
    else:
        jax = importlib.import_module("jax")
        gpus = [device for device in jax.devices() if device.platform == "gpu"]
    if not gpus:
        raise UserError(
            f"Ray assigned a GPU to this worker, but {backend} sees none. Install its GPU "
            'libraries (for TensorFlow: pip install "fer_ray[gpu]"), or omit --gpus-per-worker.'
        )


def _disable_tf32(backend: str) -> None:
    """Make a GPU multiply float32 as CPUs do, without rounding to the 10 bits of TF32.

    Features of an image then agree to 1e-4 between CPUs and GPUs.
    """
    if backend == "tensorflow":
        import tensorflow as tf

        tf.config.experimental.enable_tensor_float_32_execution(False)
    elif backend == "torch":
        torch = importlib.import_module("torch")
        torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = False
