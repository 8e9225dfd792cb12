"""Reading a model bundle and verifying its files."""

import hashlib
import json
from dataclasses import dataclass
from functools import cached_property
from io import BytesIO
from pathlib import Path

import pyarrow as pa
from pydantic import ValidationError

from fer_ray.errors import UserError
from fer_ray.faces.model_paths import model_hashes
from fer_ray.models.bundles.bundle_manifest import (
    BUNDLE_SCHEMA_VERSION,
    CARD,
    CHECK,
    MANIFEST,
    TRAINED_ON,
    TRAINING_FACES,
    Manifest,
)
from fer_ray.settings.extraction import ExtractSettings
from fer_ray.storage.parquet import read_table


@dataclass(frozen=True)
class Bundle:
    """A bundle whose files match their hashes.

    Attributes:
        folder: The bundle's folder.
        sha256: Hex digest of `bundle.json`, which contains the hashes of all other files.
        manifest: Content of `bundle.json`.
        content: Bytes of every other file by name, as they were when the hashes were checked.
    """

    folder: Path
    sha256: str
    manifest: Manifest
    content: dict[str, bytes]

    @property
    def labels(self) -> tuple[str, ...]:
        """Emotions that the model predicts, in the order of its probabilities."""
        return self.manifest.labels

    @cached_property
    def trained_on(self) -> frozenset[str]:
        """Hex SHA-256 of the files that the model was fitted on.

        Raises:
            UserError: The table cannot be read.
        """
        try:
            hashes = read_table(BytesIO(self.content[TRAINED_ON]))["sha256"].to_pylist()
        except (KeyError, pa.ArrowException) as problem:
            raise UserError(
                f"Bundle {self.folder}: cannot read {TRAINED_ON} ({problem}). Create the bundle "
                "again."
            ) from None
        return frozenset(hashes)

    def settings(self, landmark_file: str | None = None) -> ExtractSettings:
        """Return the extraction settings that compute the input of the model.

        Args:
            landmark_file: Path or URI of the landmark model's file. None: the default.

        Raises:
            UserError: A model file is missing, or the bundle was created with another one.
        """
        settings = self.manifest.recipe.settings(landmark_file)
        _require_models(self, model_hashes(settings))
        return settings


def sha256_of(content: bytes) -> str:
    """Return the hex SHA-256 of bytes."""
    return hashlib.sha256(content).hexdigest()


def read_bundle(folder: Path) -> Bundle:
    """Read a bundle's files and check each against its hash, without loading the model.

    Raises:
        UserError: The folder is not a bundle, has another schema, or a file was changed.
    """
    try:
        text = (folder / MANIFEST).read_bytes()
    except (FileNotFoundError, NotADirectoryError):
        raise UserError(
            f"{folder} is not a model bundle: it has no {MANIFEST}. Create one with "
            "`fer-ray bundle --out RUN --to BUNDLE`."
        ) from None
    except OSError as problem:
        raise UserError(
            f"Bundle {folder}: cannot read {MANIFEST} ({problem.strerror}). Restore the file or "
            "its permissions."
        ) from None
    manifest = _parse(folder, text)
    content = {name: _read_file(folder, name, digest) for name, digest in manifest.files.items()}
    needed = {CARD, CHECK, TRAINED_ON, TRAINING_FACES, manifest.model.file}
    if missing := sorted(needed - content.keys()):
        raise UserError(
            f"Bundle {folder}: {MANIFEST} does not list {', '.join(missing)}. Create the bundle "
            "again."
        )
    return Bundle(folder, sha256_of(text), manifest, content)


def _parse(folder: Path, text: bytes) -> Manifest:
    try:
        tree = json.loads(text)
    except (ValueError, RecursionError) as problem:
        raise UserError(
            f"Bundle {folder}: {MANIFEST} is not valid JSON: {problem}. Create the bundle again."
        ) from None
    version = tree.get("schema_version") if isinstance(tree, dict) else None
    if version != BUNDLE_SCHEMA_VERSION:
        raise UserError(
            f"Bundle {folder} has schema version {version!r}; this version of fer_ray reads "
            f"{BUNDLE_SCHEMA_VERSION}. Create the bundle again."
        )
    try:
        return Manifest.model_validate(tree)
    except ValidationError as problem:
        first = problem.errors()[0]
        field = ".".join(str(part) for part in first["loc"])
        raise UserError(
            f"Bundle {folder} was not created by this version of fer_ray. {MANIFEST}, {field}: "
            f"{first['msg']}. Create the bundle again."
        ) from None


def _read_file(folder: Path, name: str, digest: str) -> bytes:
    try:
        content = (folder / name).read_bytes()
    except OSError as problem:
        raise UserError(
            f"Bundle {folder}: cannot read {name} ({problem.strerror}). Restore the file and its "
            "permissions, or create the bundle again."
        ) from None
    if sha256_of(content) != digest:
        raise UserError(
            f"Bundle {folder}: {name} is not the file that the bundle was created with (its "
            f"SHA-256 is {sha256_of(content)[:16]}…, {MANIFEST} has {digest[:16]}…). It was not "
            "loaded. Restore the file, or create the bundle again."
        )
    return content


def _require_models(bundle: Bundle, hashes: dict[str, str]) -> None:
    """Check that the model files for faces are those that the bundle was trained with.

    Args:
        bundle: A bundle.
        hashes: Hex SHA-256 of the files on this machine.

    Raises:
        UserError: A file differs.
    """
    for name, expected in bundle.manifest.recipe.models.items():
        if hashes.get(name) != expected:
            kind = "landmark model" if name == "landmarks" else name
            raise UserError(
                f"Bundle {bundle.folder} was trained with another {kind} (SHA-256 "
                f"{expected[:16]}…, not {hashes.get(name, 'none')[:16]}…), so its features would "
                "differ. Pass the right file with --landmark-file FILE."
            )
