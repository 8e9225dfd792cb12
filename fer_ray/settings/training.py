"""Settings of trials and searches. The defaults are the `reference` setting: the study's own."""

from pathlib import Path
from typing import Annotated, Any, Literal, get_args

from pydantic import Field, field_validator, model_validator

from fer_ray.settings.base import Strict
from fer_ray.settings.feature_sets import sets_of

Kernel = Literal["linear", "poly", "rbf"]
Protocol = Literal["random", "subject-10fold", "loso"]
Classes = Literal["8", "7", "7n", "6"]
Classifier = Literal["svm-linear", "svm-rbf", "logistic", "lda", "boosting"]
Metric = Literal["accuracy", "macro_recall"]

# What each variant leaves out. 7: the peak classes of CK+, as Lucey et al. (CVPR 2010 workshops);
# 6: the basic emotions of Ekman, which CK had; 7n: those with neutral beside them.
LEFT_OUT: dict[Classes, tuple[str, ...]] = {
    "8": (),
    "7": ("neutral",),
    "7n": ("contempt",),
    "6": ("neutral", "contempt"),
}


# What `beyond` adds. Shape and appearance tell of different things, and differ in unit and size.
BEYOND = {"feature_set": "hog+landmarks+geometry", "scale": "equal", "kernels": ("linear",)}
BEYOND_PROTOCOL: Protocol = "subject-10fold"


class TrialSettings(Strict):
    """All that defines the repeated SVM trials; the defaults are the study's."""

    feature_set: str = "reference"
    kernels: tuple[Kernel, ...] = Field(("linear", "poly"), min_length=1)
    classes: Classes = "8"
    protocol: Protocol = "random"
    folds: Path | None = None  # a CSV file of splits, in place of the protocol's own
    n_trials: int = Field(10, ge=1)  # random protocol only; folds have their own number
    train_share: float = Field(0.8, gt=0, lt=1)
    test_share: float = Field(0.2, gt=0, lt=1)
    # standard: mean 0 and deviation 1; equal: and each set of a union weighs the same.
    scale: Literal["none", "standard", "equal"] = "none"
    C: float = Field(1.0, gt=0)
    # The study's scikit-learn had "auto", 1 / n_features, as its default; today's is "scale".
    gamma: Literal["auto", "scale"] | Annotated[float, Field(gt=0)] = "auto"
    degree: int = Field(3, ge=1, le=20)  # polynomial kernel only
    tol: float = Field(1e-3, gt=0)
    # Changed copies of each training image: mirrored or not, turned a little. The study has none.
    augment: int = Field(0, ge=0)
    seed: int = Field(0, ge=0)

    @field_validator("classes", mode="before")
    @classmethod
    def _as_text(cls, classes: Any) -> Any:
        return str(classes) if isinstance(classes, int) else classes  # YAML reads 7 as a number

    @field_validator("feature_set")
    @classmethod
    def _known_set(cls, name: str) -> str:
        sets_of(name)
        return name

    @model_validator(mode="after")
    def _shares_fit(self) -> "TrialSettings":
        if self.train_share + self.test_share > 1 + 1e-9:
            raise ValueError("train_share and test_share add up to more than 1")
        return self


class SearchSettings(Strict):
    """All that defines a search; protocol, classes and seed are those of the trials."""

    configurations: int = Field(200, ge=1)
    # Shape, appearance, and both: they tell of different things. reference68 is left out, being all
    # but the same as reference.
    feature_sets: tuple[str, ...] = Field(
        (
            *("reference", "landmarks", "geometry", "hog"),
            *("hog+landmarks", "hog+geometry", "hog+landmarks+geometry"),
        ),
        min_length=1,
    )
    classifiers: tuple[Classifier, ...] = Field(get_args(Classifier), min_length=1)
    inner_folds: int = Field(5, ge=2)
    voters: int = Field(5, ge=1)  # candidates that may vote together; 1: the best one answers
    metric: Metric = "accuracy"  # what chooses, inside training parts

    @field_validator("feature_sets")
    @classmethod
    def _known_feature_sets(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        for name in names:
            sets_of(name)
        if len(set(names)) < len(names):
            raise ValueError("a feature set is named twice")
        return names
