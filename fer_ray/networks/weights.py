"""The weights of a backbone: their origin, and whether a file can contain them. No Keras.

Published files are stored where Keras stores its own downloads, so each reuses files of the other.
"""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fer_ray.errors import UserError
from fer_ray.faces.landmarks import packaged_model_file
from fer_ray.settings.backbones import EMBEDDED, IMAGENET, BackboneSpec
from fer_ray.settings.model_files import MODEL_FILES
from fer_ray.storage.downloads import PublishedFile, download, file_digest, has_hash, local_copy
from fer_ray.storage.paths import to_path
from fer_ray.storage.user_folders import cache_path
from fer_ray.vocabulary import Origin

DLIB_FILE = MODEL_FILES["dlib_resnet"].file


@dataclass(frozen=True)
class Weights:
    """One file of weights.

    Attributes:
        file: Its path on this node.
        sha256: Hex SHA-256 of its content.
        origin: Where it comes from.
        source: Path or URI that the user passed, or `file`.
    """

    file: Path
    sha256: str
    origin: Origin
    source: str

    def record(self) -> dict[str, Any]:
        """The same values as JSON types."""
        return {"file": self.source, "sha256": self.sha256, "origin": self.origin}


def find_weights(spec: BackboneSpec, source: str | None) -> Weights:
    """Find the weights of a backbone; published ones are downloaded if necessary.

    Args:
        spec: The backbone.
        source: `imagenet`, `embedded`, or the path or URI of a file. None: the backbone's default,
            which a network from the user's file does not have.

    Raises:
        UnreachableError: The published weights cannot be downloaded.
        UserError: The file does not exist or belongs to another network, or the cache cannot be
            written.
    """
    source = source or spec.weights
    if not source:
        raise UserError(f"The network {spec.name} needs its file: pass {spec.name}=FILE.")
    if source == spec.weights == EMBEDDED:
        return _weights(bundled_dlib_file(), Origin.EMBEDDED)
    if source == spec.weights == IMAGENET:
        return _weights(published_file(spec), Origin.IMAGENET)
    if source in (IMAGENET, EMBEDDED):
        raise UserError(f"{spec.name} has no {source} weights: use {spec.weights} or a file.")
    path = to_path(source)
    try:
        file = local_copy(path)
    except FileNotFoundError:
        raise _missing(spec, source) from None
    return _weights(file, _origin(spec, file), path)


def _missing(spec: BackboneSpec, source: str) -> UserError:
    published = f", or {spec.weights} for the published weights of {spec.name}"
    return UserError(
        f"The weights file {source} does not exist. Pass a file{published * bool(spec.weights)}."
    )


def bundled_dlib_file() -> Path:
    """The face network of dlib, which the package `face_recognition_models` contains."""
    return packaged_model_file(DLIB_FILE)


def cached_file(spec: BackboneSpec) -> Path | None:
    """The published file in Keras's cache on this node; None if it is not there."""
    file = _cache_file(spec)
    return file if has_hash(file, known_hash(spec)) else None


@contextmanager
def keras_named_link(file: Path) -> Iterator[Path]:
    """A link to the file whose name matches its content: Keras derives the format from names."""
    import h5py

    with h5py.File(file, "r") as content:
        is_legacy = "layer_names" in content.attrs or "model_weights" in content
    with tempfile.TemporaryDirectory() as folder:
        link = Path(folder) / ("weights.h5" if is_legacy else "of.weights.h5")
        link.symlink_to(file.resolve())
        yield link


def wrong_weights_error(spec: BackboneSpec, file: Path, problem: Exception) -> UserError:
    """The error for a file that the network does not accept."""
    return _mismatch(spec, file, str(problem).splitlines()[0])


def _weights(file: Path, origin: Origin, source: Path | None = None) -> Weights:
    return Weights(file, file_digest(file, "sha256"), origin, str((source or file).resolve()))


def published_file(spec: BackboneSpec) -> Path:
    """The published file of a backbone, downloaded into Keras's cache if it is missing.

    Raises:
        UserError: The file cannot be downloaded or stored.
    """
    name, file = f"the ImageNet weights of {spec.name}", _cache_file(spec)
    return download(
        PublishedFile(name, spec.url, known_hash(spec), file, "KERAS_HOME", "--weights")
    )


def _cache_file(spec: BackboneSpec) -> Path:
    return cache_path("KERAS_HOME", ".keras", "models", spec.url.rpartition("/")[2])


def known_hash(spec: BackboneSpec) -> str:
    """The published hash of a backbone's weights: `md5:HEX` or `sha256:HEX`."""
    return f"{'sha256' if len(spec.file_hash) == 64 else 'md5'}:{spec.file_hash}"


def _origin(spec: BackboneSpec, file: Path) -> Origin:
    """The origin of a user's file, by its content alone."""
    if spec.file_network is not None:
        return Origin.FILE
    if not spec.application:
        is_bundled = file_digest(file, "sha256") == file_digest(bundled_dlib_file(), "sha256")
        return Origin.EMBEDDED if is_bundled else Origin.FILE
    if has_hash(file, known_hash(spec)):
        return Origin.IMAGENET
    return Origin.FILE if _is_trained(spec, file) else Origin.UNTRAINED


def _is_trained(spec: BackboneSpec, file: Path) -> bool:
    """Return whether any vector of the file (biases, scales, means) has differing values.

    Networks start with biases of 0 and scales of 1, and training changes some of them.

    Raises:
        UserError: The file is not HDF5, or has fewer values than the backbone.
    """
    count, is_trained = 0, False
    for values in _float_arrays(spec, file):
        count += values.size
        is_trained |= values.ndim == 1 and values.size > 3 and bool((values != values[0]).any())
    if count < spec.parameters:
        raise _mismatch(spec, file, f"it contains {count:,} values")
    return is_trained


def _float_arrays(spec: BackboneSpec, file: Path) -> list[Any]:
    import h5py

    arrays: list[Any] = []

    def collect(_: str, item: Any) -> None:
        if isinstance(item, h5py.Dataset) and item.dtype.kind == "f":
            arrays.append(item[()])

    try:
        with h5py.File(file, "r") as content:
            content.visititems(collect)
    except OSError as problem:
        raise _mismatch(spec, file, f"it is not an HDF5 file ({problem})") from None
    return arrays


def _mismatch(spec: BackboneSpec, file: Path, reason: str) -> UserError:
    expected = f"dlib's {DLIB_FILE}"
    if spec.application:
        expected = (
            f"the weights of keras.applications.{spec.application} without its top, "
            f"{spec.parameters:,} values in HDF5 (as in {spec.url.rpartition('/')[2]})"
        )
    return UserError(f"{file} is not a weights file of {spec.name}: {reason}. Expected {expected}.")
