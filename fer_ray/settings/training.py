"""Settings of SVM trials and of the nested search. The defaults are the reference settings."""

from collections.abc import Collection
from typing import Annotated, Any, Literal, get_args

from pydantic import Field, field_validator, model_validator

from fer_ray.settings.base import PathText, StrictModel
from fer_ray.settings.feature_sets import sets_of

Kernel = Literal["linear", "poly", "rbf"]
Protocol = Literal["random", "subject-10fold", "loso", "official"]
Classes = Literal["8", "7", "7n", "6"]
Classifier = Literal["svm-linear", "svm-rbf", "logistic", "lda", "boosting"]
ClassWeight = Literal["none", "balanced"]
Metric = Literal["accuracy", "macro_recall"]
Calibration = Literal["platt", "temperature"]

# The emotions that each variant leaves out. 7: the peak classes of CK+, as in Lucey et al. (CVPR
# 2010 workshops); 6: Ekman's basic emotions, those of CK; 7n: these and neutral.
LEFT_OUT: dict[Classes, tuple[str, ...]] = {
    "8": (),
    "7": ("neutral",),
    "7n": ("contempt",),
    "6": ("neutral", "contempt"),
}

# The recommended recipe, chosen by nested search: docs/how-to/features.md says how. The union
# combines shape and appearance, which differ in unit and width.
RECOMMENDED: dict[str, Any] = {
    "feature_set": "hog8+hog+hog32+hog_patches+landmarks+geometry",
    "scale": "equal",
    "set_weights": (),
    "kernels": ("linear",),
    "C": "auto",
    "class_weight": "balanced",
    "mirror": True,
}
# Added to the union where the landmark model provides them (`--profile mesh`).
RECOMMENDED_WITH_MESH: dict[str, Any] = {
    **RECOMMENDED,
    "feature_set": f"{RECOMMENDED['feature_set']}+blendshapes",
}
# What `transfer` trains by default: features that every extraction stores.
TRANSFER = {"feature_set": "hog+landmarks+geometry", "scale": "equal", "kernels": ("linear",)}
RECOMMENDED_PROTOCOL: Protocol = "subject-10fold"


def recommended_recipe(extracted: Collection[str]) -> dict[str, Any]:
    """The recommended recipe for a run that extracts these feature sets."""
    return RECOMMENDED_WITH_MESH if "blendshapes" in extracted else RECOMMENDED


class TrialSettings(StrictModel):
    """Everything that defines repeated SVM trials."""

    feature_set: str = Field("reference", description="Features to train on; + joins sets.")
    kernels: tuple[Kernel, ...] = Field(
        ("linear", "poly"), min_length=1, description="Kernels of the SVM; each is an experiment."
    )
    classes: Classes = Field(
        "8", description="8: all; 7: without neutral; 7n: without contempt; 6: without both."
    )
    protocol: Protocol = Field("random", description="How images are split.")
    folds: PathText | None = Field(
        None,
        description="CSV file of splits, used instead of --protocol: image_id, trial, part.",
    )
    n_trials: int = Field(10, ge=1, description="Number of trials of the random protocol.")
    train_share: float = Field(
        0.8, gt=0, lt=1, description="Share of each class for training (random protocol)."
    )
    test_share: float = Field(
        0.2, gt=0, lt=1, description="Share of each class for testing (random protocol)."
    )
    scale: Literal["none", "standard", "equal"] = Field(
        "none",
        description="standard: mean 0 and standard deviation 1; equal: in addition, each set of a "
        "union has the same weight, or those of set_weights.",
    )
    set_weights: tuple[Annotated[float, Field(gt=0)], ...] = Field(
        (),
        description="Weight of each set of a union with --scale equal, in order; by default, all "
        "have the same.",
    )
    C: Literal["auto"] | float = Field(
        1.0,
        description="Penalty of the SVM; auto: chosen within each training part, for linear "
        "kernels with --scale equal.",
    )
    # "auto" is 1 / n_features, scikit-learn's default at the time of the reference study.
    gamma: Literal["auto", "scale"] | Annotated[float, Field(gt=0)] = Field(
        "auto",
        description="Kernel coefficient: auto (1 / number of features), scale, or a number.",
    )
    degree: int = Field(3, ge=1, le=20, description="Degree of the polynomial kernel.")
    tol: float = Field(1e-3, gt=0, description="Stopping tolerance of the SVM.")
    calibration: Calibration | Literal["auto"] = Field(
        "auto",
        description="How SVM scores become probabilities. platt: as in the reference study; "
        "temperature: fitted on folds without shared subjects; auto: platt for the random "
        "protocol, otherwise temperature.",
    )
    class_weight: ClassWeight = Field(
        "none",
        description="balanced: errors weigh more in rarer classes, in inverse proportion to their "
        "number of images.",
    )
    mirror: bool = Field(False, description="Add a mirrored copy of each training image.")
    augment: int = Field(
        0,
        ge=0,
        description="Augmented copies of each training image, mirrored or slightly rotated.",
    )
    seed: int = Field(0, ge=0, description="Seed of the splits.")

    @field_validator("classes", mode="before")
    @classmethod
    def _accept_numbers(cls, classes: Any) -> Any:
        return str(classes) if isinstance(classes, int) else classes  # YAML reads 7 as a number

    @field_validator("C", mode="before")
    @classmethod
    def _require_positive_penalty(cls, penalty: Any) -> Any:
        try:
            valid = penalty == "auto" or float(penalty) > 0
        except (TypeError, ValueError):
            valid = False
        if not valid:
            raise ValueError("specify a number greater than 0, or auto")
        return penalty

    @field_validator("feature_set")
    @classmethod
    def _require_known_set(cls, name: str) -> str:
        sets_of(name)
        return name

    @model_validator(mode="after")
    def _require_a_linear_kernel_for_auto(self) -> "TrialSettings":
        if self.C == "auto" and (self.kernels != ("linear",) or self.scale != "equal"):
            raise ValueError("C=auto needs kernels=[linear] and scale=equal")
        return self

    @model_validator(mode="after")
    def _require_a_weight_for_each_set(self) -> "TrialSettings":
        sets = sets_of(self.feature_set)
        if self.set_weights and (len(self.set_weights) != len(sets) or self.scale != "equal"):
            raise ValueError(
                f"set_weights needs scale=equal and one weight for each of {', '.join(sets)}"
            )
        return self

    @model_validator(mode="after")
    def _require_shares_that_fit(self) -> "TrialSettings":
        if self.train_share + self.test_share > 1 + 1e-9:
            raise ValueError("train_share and test_share add up to more than 1")
        return self


class SearchSettings(StrictModel):
    """Everything that defines a nested search, except for protocol, classes and seed (`trials`)."""

    configurations: int = Field(200, ge=1, description="Configurations to sample.")
    # Sets of shape, of appearance, and of both. reference68 is nearly the same as reference.
    feature_sets: tuple[str, ...] = Field(
        (
            *("reference", "landmarks", "geometry", "hog"),
            *("hog+landmarks", "hog+geometry", "hog+landmarks+geometry"),
        ),
        min_length=1,
        description="Feature sets to choose from; + joins sets.",
    )
    set_weights: tuple[Annotated[float, Field(gt=0)], ...] = Field(
        (0.5, 1.0, 2.0),
        min_length=1,
        description="Weights to choose from for each set of a union, for SVMs.",
    )
    classifiers: tuple[Classifier, ...] = Field(
        get_args(Classifier), min_length=1, description="Classifiers to choose from."
    )
    inner_folds: int = Field(5, ge=2, description="Folds within each training part.")
    voters: int = Field(
        5, ge=1, description="Maximum number of candidates that vote; 1: only the best one."
    )
    metric: Metric = Field("accuracy", description="Metric of the selection within training parts.")

    @field_validator("feature_sets")
    @classmethod
    def _require_known_sets(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        for name in names:
            sets_of(name)
        if len(set(names)) < len(names):
            raise ValueError("a feature set is specified twice")
        return names
