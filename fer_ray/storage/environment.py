"""The library versions and the machine, which may affect results and timings."""

import os
import platform
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

LIBRARIES = (
    "ray", "opencv-python-headless", "dlib-bin", "dlib", "numpy", "scikit-learn", "skops",
    "pyarrow", "pandas", "matplotlib", "face_recognition_models", "pillow", "deltalake", "duckdb",
    "keras", "tensorflow", "tensorflow-cpu", "optuna",
)  # fmt: skip
# Memory limits of a container: cgroup version 2, and version 1.
MEMORY_LIMITS = (
    Path("/sys/fs/cgroup/memory.max"), Path("/sys/fs/cgroup/memory/memory.limit_in_bytes"),
)  # fmt: skip


def library_versions() -> dict[str, str]:
    """Versions of Python and of the installed libraries among `LIBRARIES`."""
    versions = {"python": platform.python_version()}
    for name in LIBRARIES:
        try:
            versions[name] = version(name)
        except PackageNotFoundError:
            continue
    return versions


def machine() -> dict[str, Any]:
    """Platform, CPUs and memory of the driver's machine."""
    memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return {
        "platform": platform.platform(terse=True),
        "processors": available_cpus(),
        "memory_gib": round(memory / 2**30, 1),
    }


def available_cpus() -> int:
    """Count the logical CPUs that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def available_memory() -> int:
    """Count the bytes that new processes can use: free ones and those of the page cache.

    In a container, at most its limit.
    """
    limits = [file.read_text().strip() for file in MEMORY_LIMITS if file.is_file()]
    return min([_free_memory(), *(int(limit) for limit in limits if limit != "max")])


def _free_memory() -> int:
    try:
        lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
        kibibytes = next(line.split()[1] for line in lines if line.startswith("MemAvailable:"))
        return int(kibibytes) * 1024
    except (OSError, StopIteration):  # not Linux
        return os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
