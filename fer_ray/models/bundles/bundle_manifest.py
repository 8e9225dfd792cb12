"""The content of `bundle.json`: a model, its recipe, its figures and the hashes of its files."""

from pathlib import PurePosixPath
from typing import Any, Literal

from pydantic import Field, field_validator, model_validator

from fer_ray.evaluation.temperature import TemperatureScaling
from fer_ray.settings.backbones import BACKBONES, BackboneSpec, file_backbone
from fer_ray.settings.base import StrictModel
from fer_ray.settings.extraction import (
    Crop,
    Decode,
    ExtractSettings,
    Features,
    Landmarks,
    Selection,
)
from fer_ray.settings.feature_sets import (
    backbones_of,
    is_file_network,
    needs_sequence,
    sets_of,
    stored_sets,
)
from fer_ray.settings.network_interface import FileNetwork
from fer_ray.vocabulary import EMOTIONS

BUNDLE_SCHEMA_VERSION = 4

# Files of a bundle, in addition to the model.
MANIFEST = "bundle.json"
CARD = "CARD.md"
CHECK = "check.parquet"
TRAINED_ON = "trained_on.parquet"
TRAINING_FACES = "training_faces.npz"


class BackboneRecipe(StrictModel):
    """A pretrained network whose features the model reads."""

    weights_sha256: str
    weights_origin: str = "imagenet"  # file: the user's own, which cannot be downloaded
    preprocessing: str
    input_px: int
    licence: str
    network: FileNetwork | None = None  # of the user's file; None for those of the table

    def spec(self, name: str) -> BackboneSpec:
        """Description of the backbone of this name."""
        return BACKBONES[name] if self.network is None else file_backbone(name, self.network)


class ModelRecipe(StrictModel):
    """Everything that turns an image into the input of the model: the extraction settings."""

    decode: Decode
    crop: Crop
    landmarks: Landmarks
    features: Features
    models: dict[str, str]  # hex SHA-256 of the model files for faces, by what they do
    backbones: dict[str, BackboneRecipe] = Field(default_factory=dict)

    @field_validator("backbones")
    @classmethod
    def _known_backbones(cls, backbones: dict[str, BackboneRecipe]) -> dict[str, BackboneRecipe]:
        for name, backbone in backbones.items():
            known = name in BACKBONES or (is_file_network(name) and backbone.network)
            spec = backbone.spec(name) if known else None
            expected = spec and (spec.preprocessing, spec.input_px)
            if expected != (backbone.preprocessing, backbone.input_px):
                raise ValueError(f"no backbone {name} with this preprocessing in this version")
        return backbones

    def settings(self, landmark_file: str | None = None) -> ExtractSettings:
        """Return the extraction settings, with every image of a source selected.

        Args:
            landmark_file: Path or URI of the landmark model's file. None: the default.
        """
        return ExtractSettings(
            selection=Selection(frames="all"),
            decode=self.decode,
            crop=self.crop,
            landmarks=self.landmarks.model_copy(update={"file": landmark_file}),
            features=self.features,
        )


class SavedModel(StrictModel):
    """The fitted classifier.

    Attributes:
        file: Its skops or Keras file.
        classifier: Its name in tables.
        feature_set: The features that it reads.
        parameters: The parameters that it was fitted with.
    """

    file: str
    classifier: str
    feature_set: str
    parameters: dict[str, Any]

    @field_validator("feature_set")
    @classmethod
    def _features_of_one_image(cls, name: str) -> str:
        sets_of(name)
        if needs_sequence(name):
            raise ValueError("a single image has no delta")
        return name


class ClassRecall(StrictModel):
    """Recall of one class with its 95% interval."""

    recall: float
    interval_95: tuple[float, float]


class Evidence(StrictModel):
    """The figures of the experiment that the model comes from, with their protocol.

    They are the figures of models fitted on part of the images. `Training.how` describes what the
    bundle's own model was fitted on.
    """

    data: str  # name of the data set
    synthetic: bool
    experiment: str
    protocol: str
    trials: int
    chosen_among: int = 1  # models that were compared on the same test images
    images: int
    subjects: int
    classes: tuple[str, ...]
    test_accuracy: float
    interval_95: tuple[float | None, float | None]
    interval_method: str
    macro_recall: float
    macro_f1: float
    test_log_loss: float
    calibration_error: float
    test_subject_in_train: float | None
    recall_by_class: dict[str, ClassRecall]
    recall_interval_method: str

    @field_validator("interval_95")
    @classmethod
    def _both_ends(cls, ends: tuple[float | None, float | None]) -> tuple[float | None, ...]:
        if (ends[0] is None) != (ends[1] is None):
            raise ValueError("one of the two ends is missing")
        return ends


class Training(StrictModel):
    """The images that were used in any part of the training."""

    images: int
    subjects: int
    by_class: dict[str, int]
    how: str  # which of them the model was fitted on, in words
    frames_fingerprint: str
    source_digest: str


class Confidence(StrictModel):
    """How scores become probabilities and prediction sets, fitted on held-out images.

    Attributes:
        sharpness: Factor of the pairwise decisions of an SVM; 1 for a head.
        inverse_temperature: Factor of the scores before the softmax.
        uniform_share: Weight of equal probabilities of all classes; the softmax has the rest.
        set_coverage: Share of the prediction sets of such images that contain the true class.
        set_threshold: Lowest probability of a class in a prediction set.
        set_size: Mean number of classes in the prediction sets of these images.
        abstained: Share of these images whose prediction set does not consist of one class.
        images: Number of these images.
        subjects: Number of their subjects; 0 if unknown.
        new_people: Whether no model was trained on another image of the same person.
        how: Which models gave the scores, in words.
    """

    sharpness: float = Field(gt=0)
    inverse_temperature: float = Field(gt=0)
    uniform_share: float = Field(ge=0, le=1)
    set_coverage: float = Field(gt=0, lt=1)
    set_threshold: float = Field(ge=0, le=1)
    set_size: float = Field(ge=0)
    abstained: float = Field(ge=0, le=1)
    images: int
    subjects: int
    new_people: bool
    how: str

    @property
    def scaling(self) -> TemperatureScaling:
        """Converts scores to probabilities."""
        return TemperatureScaling(self.inverse_temperature, self.uniform_share)


class Manifest(StrictModel):
    """The complete `bundle.json`.

    Attributes:
        labels: Emotions that the model predicts, in the order of its probabilities.
        versions: Versions of Python and libraries that created the bundle.
        files: Hex SHA-256 of every other file of the bundle, by name.
    """

    schema_version: Literal[4] = 4
    kind: Literal["svm", "head"]
    labels: tuple[str, ...] = Field(min_length=2)
    recipe: ModelRecipe
    model: SavedModel
    evidence: Evidence
    training: Training
    confidence: Confidence
    versions: dict[str, str]
    made: str
    files: dict[str, str]

    @field_validator("labels")
    @classmethod
    def _known_labels(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        if list(names) != [name for name in EMOTIONS if name in names]:
            raise ValueError(f"must be some of {', '.join(EMOTIONS)}, in this order")
        return names

    @field_validator("files")
    @classmethod
    def _plain_names(cls, files: dict[str, str]) -> dict[str, str]:
        for name in files:
            if PurePosixPath(name).name != name or name in {MANIFEST, "..", "."} or "\0" in name:
                raise ValueError(f"{name!r} is not the name of a file next to {MANIFEST}")
        return files

    @model_validator(mode="after")
    def _features_match(self) -> "Manifest":
        needed = self.model.feature_set
        computed = (self.recipe.features.sets, {*self.recipe.backbones})
        if computed != (sets_to_extract(needed), {*backbones_of(needed)}):
            raise ValueError(f"the recipe does not compute the features of the model, {needed}")
        return self


def sets_to_extract(feature_set: str) -> tuple[str, ...]:
    """Return the sets that extraction must compute for a model; at least the smallest set."""
    return stored_sets(feature_set) or ("geometry",)
