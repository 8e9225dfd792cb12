"""`bundle.json`: what a bundle holds, and whether it is what it says."""

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, Literal

from pydantic import Field, ValidationError, field_validator, model_validator

from fer_ray.errors import UserError
from fer_ray.models.bundles.evidence import Evidence, Training
from fer_ray.settings.backbones import BACKBONES
from fer_ray.settings.base import Strict
from fer_ray.settings.extraction import (
    Crop,
    Decode,
    ExtractSettings,
    Features,
    Landmarks,
    Selection,
)
from fer_ray.settings.feature_sets import backbones_of, needs_sequence, sets_of, stored_sets
from fer_ray.vocabulary import EMOTIONS

SCHEMA_VERSION = 1
MANIFEST = "bundle.json"
CARD = "CARD.md"
CHECK = "check.parquet"
TRAINED_ON = "trained_on.parquet"
SMALLEST_SET = "geometry"


class BackboneRecipe(Strict):
    """A pretrained network that the model reads features of."""

    weights_sha256: str
    weights_origin: str = "imagenet"  # file: the user's own, which nobody else serves
    preprocessing: str
    input_px: int
    licence: str


class Recipe(Strict):
    """All that turns an image into what the model reads; the settings of extraction."""

    decode: Decode
    crop: Crop
    landmarks: Landmarks
    features: Features
    landmark_model_sha256: str
    backbones: dict[str, BackboneRecipe] = Field(default_factory=dict)

    @field_validator("backbones")
    @classmethod
    def _same_networks(cls, named: dict[str, BackboneRecipe]) -> dict[str, BackboneRecipe]:
        for name, one in named.items():
            spec = BACKBONES.get(name)
            if spec is None or (spec.preprocessing, spec.input_px) != (
                one.preprocessing,
                one.input_px,
            ):
                raise ValueError(f"there is no backbone {name} with this preprocessing here")
        return named

    def settings(self, landmark_model: Path | None = None) -> ExtractSettings:
        """The settings of extraction, for every image of a source.

        Args:
            landmark_model: The landmark model's file here. None: that of `face_recognition_models`.
        """
        return ExtractSettings(
            selection=Selection(frames="all"),
            decode=self.decode,
            crop=self.crop,
            landmarks=self.landmarks.model_copy(update={"model": landmark_model}),
            features=self.features,
        )


class Model(Strict):
    """The fitted classifier.

    Attributes:
        file: Its skops or Keras file.
        classifier: Its kind, as in tables.
        feature_set: What it reads.
        parameters: What it was fitted with.
    """

    file: str
    classifier: str
    feature_set: str
    parameters: dict[str, Any]

    @field_validator("feature_set")
    @classmethod
    def _known_set(cls, name: str) -> str:
        sets_of(name)
        if needs_sequence(name):
            raise ValueError("an image alone has no delta")
        return name


class Manifest(Strict):
    """All of `bundle.json`.

    Attributes:
        labels: Emotions that the model answers with, in the order of its probabilities.
        versions: Of Python and libraries, where it was made.
        files: Hex SHA-256 of every other file of the bundle, by name.
    """

    schema_version: Literal[1] = 1
    kind: Literal["svm", "head"]
    labels: tuple[str, ...] = Field(min_length=2)
    recipe: Recipe
    model: Model
    evidence: Evidence
    training: Training
    versions: dict[str, str]
    made: str
    files: dict[str, str]

    @field_validator("labels")
    @classmethod
    def _known_labels(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        if list(names) != [name for name in EMOTIONS if name in names]:
            raise ValueError(f"not some of {', '.join(EMOTIONS)}, in this order")
        return names

    @field_validator("files")
    @classmethod
    def _plain_names(cls, files: dict[str, str]) -> dict[str, str]:
        for name in files:
            if PurePosixPath(name).name != name or name in {MANIFEST, "..", "."} or "\0" in name:
                raise ValueError(f"{name!r} is no name of a file beside {MANIFEST}")
        return files

    @model_validator(mode="after")
    def _features_of_recipe(self) -> "Manifest":
        read = self.model.feature_set
        made = (self.recipe.features.sets, {*self.recipe.backbones})
        if made != (extracted_sets(read), {*backbones_of(read)}):
            raise ValueError(f"the recipe does not make the features that the model reads, {read}")
        return self


def extracted_sets(feature_set: str) -> tuple[str, ...]:
    """The sets that extraction stores for a model; where it reads backbones alone, the smallest."""
    return stored_sets(feature_set) or (SMALLEST_SET,)


@dataclass(frozen=True)
class Bundle:
    """A bundle, read and found whole.

    Attributes:
        folder: Where it lies.
        sha256: Hex digest of `bundle.json`, and so of all that it vouches for.
        manifest: Its content.
        content: Every file's bytes, by name, as they were when their hashes were checked.
    """

    folder: Path
    sha256: str
    manifest: Manifest
    content: dict[str, bytes]


def sha256_of(content: bytes) -> str:
    """Hex SHA-256."""
    return hashlib.sha256(content).hexdigest()


def read_bundle(folder: Path) -> Bundle:
    """Read a bundle's files and hold each against its hash. Nothing of them is loaded yet.

    Raises:
        UserError: It is no bundle, of another schema, or not as it was made.
    """
    try:
        text = (folder / MANIFEST).read_bytes()
    except OSError as problem:
        raise UserError(
            f"{folder} is no model bundle: {MANIFEST} cannot be read ({problem.strerror}). "
            "`fer-ray bundle --out RUN --to BUNDLE` makes one."
        ) from None
    manifest = _parsed(folder, text)
    content = {name: _whole(folder, name, digest) for name, digest in manifest.files.items()}
    needed = {CARD, CHECK, TRAINED_ON, manifest.model.file}
    if missing := sorted(needed - content.keys()):
        raise UserError(f"Bundle {folder}: {MANIFEST} does not list {', '.join(missing)}.")
    return Bundle(folder, sha256_of(text), manifest, content)


def _parsed(folder: Path, text: bytes) -> Manifest:
    try:
        tree = json.loads(text)
    except (ValueError, RecursionError) as problem:
        raise UserError(f"Bundle {folder}: {MANIFEST} is no JSON: {problem}.") from None
    version = tree.get("schema_version") if isinstance(tree, dict) else None
    if version != SCHEMA_VERSION:
        raise UserError(
            f"Bundle {folder} has schema version {version!r}; this fer_ray reads {SCHEMA_VERSION}."
        )
    try:
        return Manifest.model_validate(tree)
    except ValidationError as problem:
        first = problem.errors()[0]
        place = ".".join(str(part) for part in first["loc"])
        raise UserError(
            f"Bundle {folder} was not made by this fer_ray: {MANIFEST}, {place}: {first['msg']}."
        ) from None


def _whole(folder: Path, name: str, digest: str) -> bytes:
    try:
        content = (folder / name).read_bytes()
    except OSError as problem:
        raise UserError(f"Bundle {folder} lacks {name} ({problem.strerror}).") from None
    if sha256_of(content) != digest:
        raise UserError(
            f"Bundle {folder}: {name} is not the file that the bundle was made with (its SHA-256 "
            f"is {sha256_of(content)[:16]}…, {MANIFEST} says {digest[:16]}…). It was not loaded."
        )
    return content


def require_landmark_model(bundle: Bundle, here: str) -> None:
    """Refuse a landmark model other than the bundle's.

    Args:
        bundle: A bundle.
        here: Hex SHA-256 of the landmark model's file.

    Raises:
        UserError: It is another.
    """
    there = bundle.manifest.recipe.landmark_model_sha256
    if here != there:
        raise UserError(
            f"Bundle {bundle.folder} was trained with another landmark model (SHA-256 "
            f"{there[:16]}…; the one here has {here[:16]}…): its features would differ. Name the "
            "right file with --landmark-model FILE."
        )
