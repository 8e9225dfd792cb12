"""Settings: frozen, strict, and apart by what they do.

`ExtractSettings` and `TrialSettings` define results and enter their fingerprints; `Execution` only
tunes how fast they come. The defaults are the `reference` setting: the study's own parameters.
"""

from typing import Any, Literal

from pydantic import Field, model_validator

from fer_ray.settings.base import Strict
from fer_ray.settings.extraction import ExtractSettings
from fer_ray.settings.feature_sets import stored_sets
from fer_ray.settings.networks import Deep, HeadSearchSettings
from fer_ray.settings.profiles import with_profile
from fer_ray.settings.sweeping import SweepSettings
from fer_ray.settings.training import BEYOND, BEYOND_PROTOCOL, SearchSettings, TrialSettings


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
