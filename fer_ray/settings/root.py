"""The settings of a job: all sections, execution, and the named profiles."""

from typing import Any, Literal

from pydantic import BaseModel, Field, model_validator

from fer_ray.settings.base import StrictModel
from fer_ray.settings.extraction import ExtractSettings
from fer_ray.settings.feature_sets import DEFAULT_SETS, stored_sets
from fer_ray.settings.networks import HeadSearchSettings, NetworkSettings
from fer_ray.settings.prediction import PredictionSettings
from fer_ray.settings.sweeping import SweepSettings
from fer_ray.settings.training import (
    RECOMMENDED,
    RECOMMENDED_PROTOCOL,
    TRANSFER,
    SearchSettings,
    TrialSettings,
    recommended_recipe,
)

Profile = Literal["reference", "fast", "mesh"]

# The values that each profile sets. reference: those of the reference study. fast: the same
# results sooner. mesh: a newer detector and landmark model that lose fewer photographs, and whose
# files allow commercial use. docs/how-to/features.md says what differs.
PROFILES: dict[str, dict[str, Any]] = {
    "reference": {},
    "fast": {
        "extract": {
            # Crops have 350 px; a face of half the frame still fills them.
            "decode": {"reduce_to_px": 720, "stretch": True},
            # A face smaller than 1/16 of the frame is too small to read an expression from.
            "crop": {"search": "coarse-to-fine", "min_face_share": 0.0625},
            # The face fills the cascade's box: dlib finds it at 2/3 to 1 of the crop's side.
            "landmarks": {"channels": 1, "min_face_share": 0.6},
        }
    },
    "mesh": {
        "extract": {
            "decode": {"reduce_to_px": 720, "stretch": True},
            # The boxes of faces of 32 px vary in size.
            "crop": {"detector": "blazeface", "min_size_px": 24},
            "landmarks": {"model": "face-mesh"},
            "features": {"sets": (*DEFAULT_SETS, "mesh", "blendshapes", "pose")},
        }
    },
}


class Execution(StrictModel):
    """How a job runs. None of these settings may change a result."""

    workers: int | None = Field(
        None, ge=1, description="Number of parallel tasks; by default one per CPU."
    )
    block_images: int | None = Field(
        None,
        ge=1,
        description="Images per task, the unit of retrying and resuming; by default, it depends "
        "on the number of images.",
    )
    executor: Literal["auto", "in-process", "ray"] = Field(
        "auto",
        description="What runs the tasks. auto: this process for up to 2,000 images or a few SVM "
        "trials, if RAY_ADDRESS is not set, otherwise Ray. in-process: this process, except for "
        "head searches and GPUs.",
    )
    image_seconds: float = Field(
        60,
        gt=0,
        description="Time limit for reading an image, and for processing it. On Linux, the time "
        "in which the process waits for a CPU does not count.",
    )
    gpus_per_worker: float = Field(
        0, ge=0, description="GPUs of each worker that runs a backbone; 0: CPUs only."
    )
    crops_gib: float = Field(
        2,
        ge=0,
        description="Crops are cached for further backbones as long as all of them, uncompressed, "
        "take no more than this.",
    )


class Settings(StrictModel):
    """All settings of a job, as `--settings` and `--set` define them.

    Examples:
        >>> from fer_ray.settings.root import Settings
        >>> Settings(profile="fast").extract.crop.search
        'coarse-to-fine'
    """

    profile: Profile = Field("reference", description="Named set of values for several settings.")
    recommended: bool = Field(
        False,
        description="In addition to the trials of the reference study, run the recommended "
        "features and training, and 10 folds by subject.",
    )
    extract: ExtractSettings = ExtractSettings()
    trials: TrialSettings = TrialSettings()
    search: SearchSettings = SearchSettings()
    deep: NetworkSettings = NetworkSettings()
    head_search: HeadSearchSettings = HeadSearchSettings()
    predict: PredictionSettings = PredictionSettings()
    sweep: SweepSettings = SweepSettings()
    execution: Execution = Execution()

    @model_validator(mode="before")
    @classmethod
    def _apply_profile(cls, tree: Any) -> Any:
        if not isinstance(tree, dict):
            return tree
        defaults = PROFILES.get(str(tree.get("profile", "reference")), {})
        if tree.get("recommended"):
            defaults = _with_recommended_sets(defaults)
        return _merge(defaults, tree)

    def protocol_settings(self, subjects_known: bool = True) -> list[TrialSettings]:
        """The trial settings of each protocol of a run; those of `trials` are last.

        Args:
            subjects_known: Whether the subject of every labelled image is known. Otherwise, the
                recommended folds by subject are left out.
        """
        own = self.trials.protocol == RECOMMENDED_PROTOCOL
        if not self.recommended or not subjects_known or own:
            return [self.trials]
        update = {"protocol": RECOMMENDED_PROTOCOL, "folds": None}
        return [self.trials.model_copy(update=update), self.trials]

    def transfer_trials(self) -> TrialSettings:
        """The settings of `trials`, with those of `TRANSFER` where they are not set."""
        explicit = {name: getattr(self.trials, name) for name in self.trials.model_fields_set}
        return TrialSettings.model_validate({**TRANSFER, **explicit})

    def svm_trial_settings(self, subjects_known: bool = True) -> list[TrialSettings]:
        """The settings of all SVM trials of a run, except those on backbones."""
        recipe = recommended_recipe(self.extract.features.sets)
        if self.trials.calibration == "auto":  # random splits would use Platt's method
            recipe = {**recipe, "calibration": "temperature"}
        updates = [recipe, {}] if self.recommended else [{}]
        return [
            trials.model_copy(update=update)
            for trials in self.protocol_settings(subjects_known)
            for update in updates
        ]


def _with_recommended_sets(defaults: dict[str, Any]) -> dict[str, Any]:
    """The values of a profile, and the feature sets of the recommended recipe."""
    extract = defaults.get("extract", {})
    sets = extract.get("features", {}).get("sets", DEFAULT_SETS)
    wanted = tuple(dict.fromkeys((*sets, *stored_sets(RECOMMENDED["feature_set"]))))
    return {**defaults, "extract": {**extract, "features": {"sets": wanted}}}


def _merge(defaults: dict[str, Any], settings: dict[str, Any]) -> dict[str, Any]:
    """Merge two trees of settings; values of `settings` take precedence."""
    merged = {**defaults, **settings}
    for name, default in defaults.items():
        value = settings.get(name)
        if isinstance(value, BaseModel):
            value = value.model_dump(exclude_unset=True)
        if isinstance(default, dict) and isinstance(value, dict):
            merged[name] = _merge(default, value)
    return merged
