"""Experiments: settings, splits, and the name and fingerprint that identify both."""

from dataclasses import dataclass
from typing import Any

from fer_ray.evaluation.experiments import samples
from fer_ray.evaluation.experiments.samples import Samples
from fer_ray.evaluation.protocols.folds import Folds
from fer_ray.evaluation.protocols.splits import Split
from fer_ray.settings.base import fingerprint
from fer_ray.settings.training import Calibration, Classes, Kernel, TrialSettings

MAX_NAME_BYTES = 180  # of the 255 that a file name may have, suffixes included
CUT_AT = MAX_NAME_BYTES - 60  # characters of a longer name that remain, before its digest
TEMPERATURE_VERSION = 3  # of the method: results of other versions are computed again


@dataclass(frozen=True)
class Experiment:
    """One classifier on one feature set under one protocol.

    Attributes:
        name: Contains every setting that differs from the reference settings, so it is unique.
        fingerprint: SHA-256 of its settings and of the frames.
        classifier: The classifier's name in tables.
        feature_set: The feature set that it is trained on.
        protocol: The protocol that creates the splits.
        seed: Seed of the splits.
        splits: One split per trial.
        fit_settings: What is needed to fit its model again, as JSON values.
        leakage: What its test and training images share (`leakage.audit`).
    """

    name: str
    fingerprint: str
    classifier: str
    feature_set: str
    protocol: str
    seed: int
    splits: list[Split]
    fit_settings: dict[str, Any]
    leakage: dict[str, Any]


@dataclass(frozen=True)
class SvmExperiment(Experiment):
    """Trials of one SVM kernel with given parameters."""

    kernel: Kernel
    settings: TrialSettings
    calibration: Calibration


@dataclass(frozen=True)
class PreparedData:
    """The data of an experiment.

    Attributes:
        samples: The samples to train and test on.
        folds: Their splits.
        frames_key: Identifies the frames that the samples come from.
    """

    samples: Samples
    folds: Folds
    frames_key: str

    def to_record(self, classes: Classes) -> dict[str, Any]:
        """Return what each record contains about the samples and splits."""
        notes = [*samples.sample_warnings(self.samples, classes), *self.folds.notes]
        return {"warnings": notes, "leakage": self.folds.leakage}


def plan_experiments(settings: TrialSettings, folds: Folds, frames_key: str) -> list[SvmExperiment]:
    """Plan one experiment per kernel.

    Args:
        settings: Kernels, protocol, and parameters.
        folds: The splits of their protocol.
        frames_key: Identifies the frames that the samples come from.
    """
    return [_svm_experiment(kernel, settings, folds, frames_key) for kernel in settings.kernels]


def _svm_experiment(
    kernel: Kernel, settings: TrialSettings, folds: Folds, frames_key: str
) -> SvmExperiment:
    names = _relevant_settings(kernel, settings, folds)
    default = default_calibration(folds.protocol)
    calibration = chosen_calibration(settings, folds.protocol)
    content = {
        "kernel": kernel,
        "feature_set": settings.feature_set,
        "protocol": folds.protocol,
        "settings": settings.model_dump(mode="json", include=names),
        "frames": frames_key,
        **calibration_content(calibration),
    }
    changed = changed_settings(settings, names)
    if calibration != default:
        changed.append(f"calibration={calibration}")
    parts = [f"svm-{kernel}", settings.feature_set, folds.protocol]
    key = fingerprint(content)
    return SvmExperiment(
        name=experiment_name([*parts, *changed], key),
        fingerprint=key,
        classifier=f"svm-{kernel}",
        feature_set=settings.feature_set,
        protocol=folds.protocol,
        seed=settings.seed,
        splits=folds.splits,
        leakage=folds.leakage,
        fit_settings={
            "kernel": kernel,
            "settings": settings.model_dump(mode="json", exclude={"folds"}),
        },
        kernel=kernel,
        settings=settings,
        calibration=calibration,
    )


def calibration_content(calibration: Calibration) -> dict[str, str]:
    """Return what a fingerprint contains about a calibration: the version of its method."""
    return {} if calibration == "platt" else {"calibration": f"{calibration} {TEMPERATURE_VERSION}"}


def default_calibration(protocol: str) -> Calibration:
    """Return how SVM scores become probabilities under a protocol, unless a setting says otherwise.

    The random protocol is that of the reference study, which used Platt's method.
    """
    return "platt" if protocol == "random" else "temperature"


def chosen_calibration(settings: TrialSettings, protocol: str) -> Calibration:
    """Return the calibration of the settings, or that of the protocol if it is `auto`."""
    if settings.calibration == "auto":
        return default_calibration(protocol)
    return settings.calibration


def _relevant_settings(kernel: Kernel, settings: TrialSettings, folds: Folds) -> set[str]:
    """Names of the settings that define this kernel's trials.

    Name and fingerprint contain only these. A setting without effect, such as gamma of a linear
    kernel, can change without invalidating finished trials.
    """
    names = {"classes", "scale", "C", "tol", "augment"}
    # Only where they are set, so that trials of earlier versions stay valid.
    names |= {
        name for name in ("set_weights", "class_weight", "mirror") if _is_changed(settings, name)
    }
    if kernel != "linear":
        names |= {"gamma"}
    if kernel == "poly":
        names |= {"degree"}
    return names | splitting_settings(folds, seeded=settings.augment > 0)


def splitting_settings(folds: Folds, seeded: bool) -> set[str]:
    """Return the names of the settings that define the splits; folds depend on none.

    Args:
        folds: The splits.
        seeded: Whether something other than the splits depends on the seed.
    """
    if folds.protocol == "random":
        return {"train_share", "test_share", "n_trials", "seed"}
    return {"seed"} if seeded else set()


def experiment_name(parts: list[str], key: str) -> str:
    """Join the parts of a name; a name that is too long for a file is cut and ends in a digest.

    Args:
        parts: Classifier, features, protocol and settings.
        key: The experiment's fingerprint.
    """
    name = "-".join(parts)
    if len(name.encode()) <= MAX_NAME_BYTES:
        return name
    return f"{name[:CUT_AT]}-{key[:12]}"


def changed_settings(settings: TrialSettings, names: set[str]) -> list[str]:
    """Return the settings among `names` that differ from the reference settings, as `C=0.5`."""
    return [
        f"{field}={setting_text(getattr(settings, field))}"
        for field in TrialSettings.model_fields
        if field in names and _is_changed(settings, field)
    ]


def setting_text(value: Any) -> str:
    """Return a value as it appears in the name of an experiment."""
    return ",".join(map(setting_text, value)) if isinstance(value, tuple) else str(value)


def _is_changed(settings: TrialSettings, field: str) -> bool:
    return bool(getattr(settings, field) != TrialSettings.model_fields[field].default)
