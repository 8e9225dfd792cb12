"""Facial expression recognition as a distributed batch job on Ray.

The names in `__all__` are the public API. They are imported when they are first used, so that
`import fer_ray` is fast.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from fer_ray.api.dataset_steps import FaceFeatures, Predict, extract_faces
    from fer_ray.api.jobs import generate_corpus, predict, run, sweep
    from fer_ray.api.model_training import train
    from fer_ray.api.run_results import Run, open_run
    from fer_ray.api.trained_model import Model, load_model
    from fer_ray.errors import UserError

from fer_ray.process_environment import fix_worker_environment

fix_worker_environment()  # before any library is imported

__version__ = "0.1.0"

__all__ = [
    "FaceFeatures",
    "Model",
    "Predict",
    "Run",
    "UserError",
    "__version__",
    "extract_faces",
    "generate_corpus",
    "load_model",
    "open_run",
    "predict",
    "run",
    "sweep",
    "train",
]

_MODULES = {
    "fer_ray.api.dataset_steps": ("FaceFeatures", "Predict", "extract_faces"),
    "fer_ray.api.jobs": ("generate_corpus", "predict", "run", "sweep"),
    "fer_ray.api.model_training": ("train",),
    "fer_ray.api.run_results": ("Run", "open_run"),
    "fer_ray.api.trained_model": ("Model", "load_model"),
    "fer_ray.errors": ("UserError",),
}
_MODULE_OF = {name: module for module, names in _MODULES.items() for name in names}


def __getattr__(name: str) -> Any:
    if name not in _MODULE_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(_MODULE_OF[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
