"""What an experiment is: settings, splits, and the name and fingerprint that tell of both."""

from dataclasses import dataclass
from typing import Any

from fer_ray.evaluation import samples
from fer_ray.evaluation.folds import Folds
from fer_ray.evaluation.samples import Samples
from fer_ray.evaluation.splits import Split
from fer_ray.settings.base import fingerprint
from fer_ray.settings.training import Classes, Kernel, TrialSettings

MOST_NAME_BYTES = 180  # of 255 that a file's name may have, endings included
CUT_AT = MOST_NAME_BYTES - 60  # letters of a longer name that stay, before its digest


@dataclass(frozen=True)
class Experiment:
    """One classifier on one feature set under one protocol.

    Attributes:
        name: Names every setting that differs from the reference, so that no two share one.
        fingerprint: Of its settings and of the frames.
        classifier: Its name in tables.
        feature_set: What it is trained on.
        protocol: How images are split.
        seed: Of the splits.
        splits: One a trial.
        recipe: What else it takes to fit its model anew, as JSON knows it.
        leakage: What its test and training images share (`leakage.audit`).
    """

    name: str
    fingerprint: str
    classifier: str
    feature_set: str
    protocol: str
    seed: int
    splits: list[Split]
    recipe: dict[str, Any]
    leakage: dict[str, Any]


@dataclass(frozen=True)
class SvmExperiment(Experiment):
    """Trials of one kernel with given parameters."""

    kernel: Kernel
    settings: TrialSettings


def plan_experiments(settings: TrialSettings, folds: Folds, frames_key: str) -> list[SvmExperiment]:
    """The experiments that `settings` ask for.

    Args:
        settings: Kernels, protocol and the rest.
        folds: The splits of their protocol.
        frames_key: Names the frames that the samples come from.
    """
    return [_svm_experiment(kernel, settings, folds, frames_key) for kernel in settings.kernels]


def _svm_experiment(
    kernel: Kernel, settings: TrialSettings, folds: Folds, frames_key: str
) -> SvmExperiment:
    shown = _shown(kernel, settings, folds)
    content = {
        "kernel": kernel,
        "feature_set": settings.feature_set,
        "protocol": folds.protocol,
        "settings": settings.model_dump(mode="json", include=shown),
        "frames": frames_key,
    }
    parts = [f"svm-{kernel}", settings.feature_set, folds.protocol]
    key = fingerprint(content)
    return SvmExperiment(
        name=file_name([*parts, *differences(settings, shown)], key),
        fingerprint=key,
        classifier=f"svm-{kernel}",
        feature_set=settings.feature_set,
        protocol=folds.protocol,
        seed=settings.seed,
        splits=folds.splits,
        leakage=folds.leakage,
        recipe={
            "kernel": kernel,
            "settings": settings.model_dump(mode="json", exclude={"folds"}),
        },
        kernel=kernel,
        settings=settings,
    )


def _shown(kernel: Kernel, settings: TrialSettings, folds: Folds) -> set[str]:
    """The settings that this kernel's trials follow from: all that its name and fingerprint hold.

    What has no part in them, as gamma in a linear kernel, may change without their being done anew.
    """
    shown = {"classes", "scale", "C", "tol", "augment"}
    if kernel != "linear":
        shown |= {"gamma"}
    if kernel == "poly":
        shown |= {"degree"}
    return shown | splitting_settings(folds, seeded=settings.augment > 0)


def splitting_settings(folds: Folds, seeded: bool) -> set[str]:
    """Names of the settings that splits follow from: folds need none.

    Args:
        folds: The splits.
        seeded: Whether more than the splits depends on the seed.
    """
    if folds.protocol == "random":
        return {"train_share", "test_share", "n_trials", "seed"}
    return {"seed"} if seeded else set()


def file_name(parts: list[str], key: str) -> str:
    """The name of an experiment: its parts, or where a file could not bear them all, their digest.

    Args:
        parts: Classifier, features, protocol and settings.
        key: The experiment's fingerprint.
    """
    name = "-".join(parts)
    if len(name.encode()) <= MOST_NAME_BYTES:
        return name
    return f"{name[:CUT_AT]}-{key[:12]}"


def differences(settings: TrialSettings, shown: set[str]) -> list[str]:
    """Those settings of `shown` that are not the reference's, as `C=0.5`."""
    reference = TrialSettings()
    return [
        f"{field}={getattr(settings, field)}"
        for field in TrialSettings.model_fields
        if field in shown and getattr(settings, field) != getattr(reference, field)
    ]


@dataclass(frozen=True)
class Prepared:
    """What an experiment starts from.

    Attributes:
        samples: What is trained and tested on.
        folds: How they are split.
        frames_key: Names the frames that the samples come from.
    """

    samples: Samples
    folds: Folds
    frames_key: str

    def told(self, classes: Classes) -> dict[str, Any]:
        """What each record says of samples and splits."""
        notes = [*samples.warnings_for(self.samples, classes), *self.folds.notes]
        return {"warnings": notes, "leakage": self.folds.leakage}
