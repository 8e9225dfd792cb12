"""Settings of extraction. Together with the landmark model, they define the rows of `frames`."""

from typing import Literal

from pydantic import Field, field_validator, model_validator

from fer_ray.settings.base import PathText, StrictModel, fingerprint
from fer_ray.settings.datasets import DATASETS, DatasetName
from fer_ray.settings.face_models import DETECTORS, FACE_MESH, LANDMARK_MODELS, FaceModelSpec
from fer_ray.settings.feature_sets import DEFAULT_SETS, FEATURE_SETS
from fer_ray.settings.label_codes import LabelCodes
from fer_ray.vocabulary import CASCADES, SCHEMA_VERSION

Frames = Literal["study", "first-and-peak", "all"]
Layout = Literal["auto", "ckplus", "folders", "csv", "images"]
Faces = Literal["one", "largest", "all", "whole"]
WHOLE: Faces = "whole"


def _one_of(name: str, table: dict[str, FaceModelSpec]) -> str:
    if name not in table:
        raise ValueError(f"specify one of {', '.join(table)}")
    return name


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
    hidden_files: bool = Field(
        False, description="Include files and folders whose names start with a dot."
    )
    dataset: DatasetName | None = Field(
        None,
        description="Published data set whose layout, labels and codes the source uses; by "
        "default, it is recognised by its files.",
    )
    label_codes: LabelCodes | None = Field(
        None,
        description="Data set that defines the codes of numeric labels; by default --dataset, "
        "otherwise CK+, with a note. Folders named by numbers are labels only if this option is "
        "set, or the data set is FER2013 or RAF-DB.",
    )

    @property
    def codes(self) -> LabelCodes | None:
        """The codes of numeric labels; None if they are not known."""
        return self.label_codes or (DATASETS[self.dataset].codes if self.dataset else None)

    @property
    def folder_codes(self) -> LabelCodes | None:
        """The codes of folders that are named by numbers; None if these are not labels."""
        spec = DATASETS[self.dataset] if self.dataset else None
        return self.label_codes or (spec.codes if spec and spec.numbered_folders else None)


ALL_IMAGES = Selection(frames="all")


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
    stretch: bool = Field(
        False,
        description="Stretch images that use only part of their bit depth, such as 12 of 16 bits, "
        "and decode 32-bit images whose values are from 0 to 1, 255 or 65,535.",
    )


class Crop(StrictModel):
    """Face detection and the crop."""

    detector: str = Field("cascades", description="Face detector.")
    faces: Faces = Field(
        "one",
        description="Which faces of an image get a row. one: the face if there is exactly one, as "
        "in the reference study; largest: the largest face; all: every face, for predict and sweep "
        "only; whole: the image itself is a cropped face, so no detector runs.",
    )
    file: PathText | None = Field(
        None, description="The detector's model file, in place of the downloaded one."
    )
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

    @field_validator("detector")
    @classmethod
    def _require_known_detector(cls, name: str) -> str:
        return _one_of(name, DETECTORS)

    @field_validator("cascades")
    @classmethod
    def _require_known_cascades(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        if not names or not set(names) <= set(CASCADES) or len(set(names)) < len(names):
            raise ValueError(f"specify one or more of {', '.join(CASCADES)}, each once")
        return names


class Landmarks(StrictModel):
    """The landmark model; the other settings are those of dlib's detector and shape predictor."""

    model: str = Field("dlib", description="Landmark model.")
    file: PathText | None = Field(
        None,
        description="The landmark model's file, in place of the default one. For dlib: a 68-point "
        "shape predictor.",
    )
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

    @field_validator("model")
    @classmethod
    def _require_known_model(cls, name: str) -> str:
        return _one_of(name, LANDMARK_MODELS)


class Features(StrictModel):
    """Which feature sets are stored in addition to the landmarks."""

    sets: tuple[str, ...] = Field(DEFAULT_SETS, description="Feature sets to compute.")

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

    @model_validator(mode="after")
    def _require_mesh(self) -> "ExtractSettings":
        wanting = [name for name in self.features.sets if FEATURE_SETS[name].needs_mesh]
        if wanting and self.landmarks.model != FACE_MESH:
            raise ValueError(
                f"the feature sets {', '.join(wanting)} need landmarks.model={FACE_MESH}"
            )
        return self


def extract_fingerprint(settings: ExtractSettings, model_hashes: dict[str, str]) -> str:
    """Compute the fingerprint of an extraction.

    Args:
        settings: The extraction settings. Paths of model files, and what labels mean, do not count.
        model_hashes: Hex SHA-256 of the content of each model file, by its name.

    Returns:
        Hex SHA-256 over the settings, the models and the schema version.
    """
    content = settings.model_dump(mode="json")
    for section in ("crop", "landmarks"):
        del content[section]["file"]
    # These define the listing, which is compared row by row.
    for name in ("hidden_files", "dataset", "label_codes"):
        del content["selection"][name]
    return fingerprint({"schema": SCHEMA_VERSION, "extract": content, "models": model_hashes})
