"""Import of Keras on the backend that the user chooses, without start-up messages."""

import contextlib
import importlib
import importlib.util
import os
import sys
from types import ModuleType

from fer_ray.errors import UserError
from fer_ray.networks.library_messages import filter_stderr
from fer_ray.process_environment import remove_overrides

BACKENDS = ("tensorflow", "jax", "torch")
# Lines that TensorFlow writes at import for any TF_CPP_MIN_LOG_LEVEL (tensorflow#100442): that its
# log is not initialised yet, and information (I) about the machine.
TENSORFLOW_LINES = ("^WARNING: All log messages before absl::InitializeLog", "^I0000 ")


def load_keras(threads: int | None = None, gpu_share: float = 0) -> ModuleType:
    """Import keras on the backend of KERAS_BACKEND, by default TensorFlow.

    Args:
        threads: CPUs that Keras may use. None: all. Ignored if this process has already imported
            the backend.
        gpu_share: Share of a GPU that this process may use; GPU memory is allocated as needed.
            0: GPUs are hidden, since another process may own them.

    Raises:
        UserError: Keras or its backend is not installed, or the backend does not see the GPU.
    """
    backend = require_backend()
    _set_environment(threads, gpu_share)
    try:
        first = "keras" not in sys.modules
        with filter_stderr(*TENSORFLOW_LINES) if first else contextlib.nullcontext():
            import keras
    except ImportError as problem:
        raise _cannot_import(backend, str(problem)) from None
    except (ValueError, AttributeError) as problem:  # errors in the configuration file of Keras
        raise UserError(
            f"Keras cannot be imported: {problem}. Correct or remove keras.json in KERAS_HOME (by "
            "default ~/.keras)."
        ) from None
    _reset_configuration(keras)
    if gpu_share:
        _require_gpu(backend)
        _disable_tf32(backend)
    return keras  # type: ignore[no-any-return]


def _reset_configuration(keras: ModuleType) -> None:
    """Undo settings of `keras.json` or of the user's program that would change results."""
    keras.config.set_floatx("float32")
    keras.config.set_epsilon(1e-7)
    keras.config.set_image_data_format("channels_last")
    keras.config.set_dtype_policy("float32")


def _set_environment(threads: int | None, gpu_share: float) -> None:
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")
    os.environ["JAX_DEFAULT_MATMUL_PRECISION"] = "float32"  # see _disable_tf32
    remove_overrides()
    if threads is not None:
        for name in ("TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS", "OMP_NUM_THREADS"):
            os.environ[name] = str(threads)
    if not gpu_share:
        os.environ["CUDA_VISIBLE_DEVICES"] = "-1"


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
    os.environ["KERAS_BACKEND"] = backend
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
