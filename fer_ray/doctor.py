"""`fer-ray doctor`: checks the installation, and says how to fix what is missing.

Only the standard library is imported at the top, since any other library may be what is broken.
"""

import importlib
import os
import sys
import tempfile
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, requires, version
from importlib.util import find_spec
from pathlib import Path

from fer_ray.errors import UserError

# The check imports these, since their compiled code may not load on this machine.
COMPILED = ("numpy", "scipy", "cv2", "pyarrow", "pandas", "sklearn", "duckdb", "deltalake", "PIL")
# Distributions that provide the same module.
ALTERNATIVES = {"dlib-bin": "dlib", "tensorflow": "tensorflow-cpu"}
MIN_MEMORY_GIB = 3.0  # idle Ray 0.7, the driver 0.5, a worker 0.5


@dataclass(frozen=True)
class Check:
    """The result of one check.

    Attributes:
        subject: What was checked.
        ok: Whether it passed.
        text: What was found, or how to fix it.
    """

    subject: str
    ok: bool
    text: str


def run_checks(out: Path, model: str | None, start_ray: bool) -> Iterator[Check]:
    """Run all checks and yield each result.

    Args:
        out: Folder that a job would write to.
        model: Landmark model that the user specified, or None.
        start_ray: Whether to start Ray, which takes a few seconds.
    """
    yield _check("Python", _python)
    yield _check("libraries", _libraries)
    yield _check("compiled libraries", _compiled_libraries)
    yield _check("dlib", _dlib)
    yield _check("face cascades", _cascades)
    yield _check("landmark model", lambda: _landmark_model(model))
    yield _check("face model files", _face_models)
    yield _check("Keras", _keras)
    yield _check("network weights", _weights)
    yield _check("CPUs and memory", _resources)
    yield _check("output folder", lambda: _output_folder(out))
    if start_ray:
        yield _check("Ray", _ray)


def cluster_check(file: Path) -> Iterator[Check]:
    """Check a file for `ray up` and yield the result."""
    from fer_ray.execution.cluster.cluster_file import check_cluster_file

    yield _check("cluster file", lambda: check_cluster_file(file))


def _check(subject: str, describe: Callable[[], str]) -> Check:
    try:
        return Check(subject, True, describe())
    except (UserError, ImportError) as error:
        return Check(subject, False, str(error))


def _python() -> str:
    return sys.version.split()[0]


def _libraries() -> str:
    """Check the installed libraries against the requirements of the package."""
    from packaging.requirements import Requirement

    listed = [Requirement(text) for text in requires("fer_ray") or ()]
    required = [
        item for item in listed if item.marker is None or item.marker.evaluate({"extra": ""})
    ]
    wrong = [
        f"{item.name} {installed or 'is not installed'}: pip install '{item.name}{item.specifier}'"
        for item in required
        for installed in [_installed(item.name) or _installed(ALTERNATIVES.get(item.name))]
        if not installed or not item.specifier.contains(installed, prereleases=True)
    ]
    if wrong:
        raise UserError("; ".join(wrong))
    return f"{len(required)} installed in the required versions; Ray {_installed('ray')}"


def _installed(name: str | None) -> str | None:
    try:
        return version(name) if name else None
    except PackageNotFoundError:
        return None


def _compiled_libraries() -> str:
    for name in COMPILED:
        try:
            importlib.import_module(name)
        except ImportError as error:
            raise UserError(f"{name} cannot be imported: {error}. Reinstall it.") from None
    return ", ".join(COMPILED)


def _dlib() -> str:
    from fer_ray.faces.landmarks import import_dlib

    return str(import_dlib().__version__)


def _cascades() -> str:
    from fer_ray.faces.crops import load_cascade
    from fer_ray.vocabulary import CASCADES

    if any(load_cascade(name).empty() for name in CASCADES):
        raise UserError("a cascade file is damaged: reinstall opencv-python-headless")
    return ", ".join(CASCADES)


def _landmark_model(file: str | None) -> str:
    from fer_ray.faces.loaded_models import load_locator
    from fer_ray.faces.model_paths import landmark_file
    from fer_ray.settings.extraction import Landmarks

    settings = Landmarks(file=file)
    load_locator(settings)
    return f"{landmark_file(settings).name}, 68 points"


def _face_models() -> str:
    """List the model files for faces on this machine; others are fetched when first used."""
    from fer_ray.faces.model_paths import stored_file
    from fer_ray.settings.model_files import MODEL_FILES

    present = [name for name, spec in MODEL_FILES.items() if stored_file(spec) is not None]
    missing = [name for name in MODEL_FILES if name not in present]
    fetched = f"; not fetched yet: {', '.join(missing)}" if missing else ""
    return f"{', '.join(present)}{fetched}"


def _keras() -> str:
    """Find Keras and its backend without importing them, which would take seconds."""
    keras, backend = _installed("keras"), os.environ.get("KERAS_BACKEND", "tensorflow")
    if find_spec(backend) is None:
        raise UserError(
            f"{keras}, but its backend {backend} is not installed: pip install {backend}, or set "
            "KERAS_BACKEND to another backend"
        )
    return f"{keras} on {backend}"


def _weights() -> str:
    """List the weights on this machine; others are downloaded when they are first used."""
    from fer_ray.networks.weights import bundled_dlib_file, cached_file
    from fer_ray.settings.backbones import BACKBONES

    bundled_dlib_file()
    cached = [name for name, spec in BACKBONES.items() if spec.url and cached_file(spec)]
    return f"dlib_resnet embedded; ImageNet in Keras's cache: {', '.join(cached) or 'none yet'}"


def _resources() -> str:
    from fer_ray.storage.environment import available_cpus, available_memory

    free = available_memory() / 2**30
    text = f"{available_cpus()} CPUs, {free:.1f} GiB of memory available"
    if free < MIN_MEMORY_GIB:
        raise UserError(
            f"{text}: less than {MIN_MEMORY_GIB:.0f} GiB. Close other programs, raise the limit of "
            "the container, or run with --workers 1."
        )
    return text


def _output_folder(out: Path) -> str:
    from fer_ray.storage.objects.object_path import ObjectPath

    if isinstance(out, ObjectPath):
        probe = out / f".probe-{uuid.uuid4().hex}"
        probe.write_bytes(b"")
        probe.unlink(missing_ok=True)
        return f"{out} is writable"
    existing = next(folder for folder in (out, *out.absolute().parents) if folder.exists())
    try:
        with tempfile.TemporaryFile(dir=existing):
            pass
    except OSError as error:
        raise UserError(
            f"Cannot write to {existing} ({error.strerror}): pass another --out"
        ) from None
    return f"{out} is writable"


def _ray() -> str:
    from fer_ray.execution.cluster.session import ensure_ray, ray_closed_after
    from fer_ray.settings.root import Execution

    with ray_closed_after():
        workers = ensure_ray(Execution())
        import ray

        result = ray.get(ray.remote(lambda: 1).remote(), timeout=60)
    if result != 1:
        raise UserError("a task returned a wrong result: reinstall ray")
    return f"starts, {workers} parallel tasks"
