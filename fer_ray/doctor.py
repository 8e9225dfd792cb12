"""`fer-ray doctor`: is everything here that a job needs, and if not, what is to be done?

Only the standard library is imported at the top: what is amiss may be any other.
"""

import importlib
import os
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, requires, version
from importlib.util import find_spec
from pathlib import Path

from fer_ray.errors import UserError

# Imported as well: they bring code of their own that the machine may not load.
NATIVE = ("numpy", "scipy", "cv2", "pyarrow", "pandas", "sklearn", "duckdb", "deltalake", "PIL")
LEAST_MEMORY_GIB = 3.0  # idle Ray 0.7, the driver 0.5, a worker 0.5


@dataclass(frozen=True)
class Finding:
    """One check: what was looked at, whether it is well, and what was found or how to mend it."""

    subject: str
    ok: bool
    text: str


def examine(out: Path, model: Path | None, start_ray: bool) -> Iterator[Finding]:
    """All checks, one after another.

    Args:
        out: Folder that a job would write into.
        model: Landmark model named by the user, or None.
        start_ray: Whether to start Ray, which takes some seconds.
    """
    yield _check("Python", _python)
    yield _check("libraries", _libraries)
    yield _check("their native parts", _native_parts)
    yield _check("dlib", _dlib)
    yield _check("face cascades", _cascades)
    yield _check("landmark model", lambda: _landmark_model(model))
    yield _check("Keras", _keras)
    yield _check("network weights", _weights)
    yield _check("processors and memory", _resources)
    yield _check("output folder", lambda: _writable(out))
    if start_ray:
        yield _check("Ray", _ray)


def _check(subject: str, look: Callable[[], str]) -> Finding:
    try:
        return Finding(subject, True, look())
    except (UserError, ImportError) as problem:
        return Finding(subject, False, str(problem))


def _python() -> str:
    return sys.version.split()[0]


def _libraries() -> str:
    """Every library that this package asks for, by the package's own word."""
    from packaging.requirements import Requirement

    asked = [Requirement(text) for text in requires("fer_ray") or ()]
    needed = [one for one in asked if one.marker is None or one.marker.evaluate({"extra": ""})]
    wrong = [
        f"{one.name} {found or 'not installed'}: pip install '{one.name}{one.specifier}'"
        for one in needed
        for found in [_installed(one.name)]
        if not found or not one.specifier.contains(found, prereleases=True)
    ]
    if wrong:
        raise UserError("; ".join(wrong))
    return f"{len(needed)}, each as asked for; Ray {_installed('ray')}"


def _installed(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def _native_parts() -> str:
    for name in NATIVE:
        try:
            importlib.import_module(name)
        except ImportError as problem:
            raise UserError(f"{name} cannot be imported: {problem}. Install it again.") from None
    return ", ".join(NATIVE)


def _dlib() -> str:
    from fer_ray.faces.landmarks import import_dlib

    return str(import_dlib().__version__)


def _cascades() -> str:
    from fer_ray.faces.crops import load_cascade
    from fer_ray.vocabulary import CASCADES

    if any(load_cascade(name).empty() for name in CASCADES):
        raise UserError("a cascade file is damaged: install opencv-python-headless again")
    return ", ".join(CASCADES)


def _landmark_model(model: Path | None) -> str:
    from fer_ray.faces.landmarks import LandmarkLocator, model_file
    from fer_ray.settings.extraction import Landmarks

    settings = Landmarks(model=model)
    LandmarkLocator(settings)
    return f"{model_file(settings.model).name}, 68 points"


def _keras() -> str:
    """Without importing it, which takes seconds."""
    keras, backend = _installed("keras"), os.environ.get("KERAS_BACKEND", "tensorflow")
    if find_spec(backend) is None:
        raise UserError(
            f"{keras}, but its backend {backend} is not installed: pip install {backend}, or name "
            "another one in KERAS_BACKEND"
        )
    return f"{keras} on {backend}"


def _weights() -> str:
    """What is here already; what is not is downloaded when it is asked for."""
    from fer_ray.networks.weights import embedded_file, is_cached
    from fer_ray.settings.backbones import BACKBONES

    embedded_file()
    here = [name for name, spec in BACKBONES.items() if spec.url and is_cached(spec)]
    return f"dlib_resnet embedded; ImageNet in Keras's cache: {', '.join(here) or 'none yet'}"


def _resources() -> str:
    processors = (
        len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    )
    free = os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 2**30
    found = f"{processors} processors, {free:.1f} GiB free"
    if free < LEAST_MEMORY_GIB:
        raise UserError(
            f"{found}: less than {LEAST_MEMORY_GIB:.0f} GiB. Close other programs, or run with "
            "--workers 1."
        )
    return found


def _writable(out: Path) -> str:
    existing = next(folder for folder in (out, *out.absolute().parents) if folder.exists())
    try:
        with tempfile.TemporaryFile(dir=existing):
            pass
    except OSError as problem:
        raise UserError(
            f"{existing} cannot be written ({problem.strerror}): name another --out"
        ) from None
    return f"{out} can be written"


def _ray() -> str:
    from fer_ray.execution.session import ensure_ray, ray_closed_after
    from fer_ray.settings.root import Execution

    with ray_closed_after():
        workers = ensure_ray(Execution())
        import ray

        answer = ray.get(ray.remote(lambda: 1).remote(), timeout=60)
    return f"starts, {workers} tasks at a time" if answer == 1 else "gives a wrong answer"
