"""Trials and search as jobs: splits prepared and audited, what is missing run, all recorded."""

import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from fer_ray.config import Execution
from fer_ray.data import store
from fer_ray.data.tables import read_table
from fer_ray.deep.tables import trained_record
from fer_ray.errors import UserError
from fer_ray.extract import FRAMES, finished_record
from fer_ray.features.table import backbones_of, needs_sequence
from fer_ray.learn import choice, cohort, leakage, nested, samples, trials
from fer_ray.learn.copies import changed_copies
from fer_ray.learn.experiment import plan_experiments
from fer_ray.learn.folds import Folds, folds_for, write_folds
from fer_ray.learn.samples import Samples
from fer_ray.learn.settings import Classes, SearchSettings, TrialSettings
from fer_ray.pieces import run_work
from fer_ray.progress import Progress

TRIALS_RECORD = "trials.json"


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


def run_trials(
    out: Path,
    settings: TrialSettings,
    execution: Execution,
    progress: Progress,
    strict: bool = False,
    folds_file: Path | None = None,
) -> dict[str, Any]:
    """Run the trials that `settings` ask for and that `out` does not hold yet.

    Args:
        out: Run folder, held by the caller (`holding.run_folder`).
        settings: What to run.
        execution: Workers.
        progress: Shows how far it is.
        strict: Refuse splits that leak.
        folds_file: Where to write the splits, as CSV.

    Raises:
        UserError: There are no finished frames, they do not allow these trials, or the splits leak.
    """
    ready = prepare(out, settings, settings.feature_set, strict=strict, folds_file=folds_file)
    experiments = plan_experiments(settings, ready.folds, ready.frames_key)
    stores = [trials.TrialStore(out, experiment) for experiment in experiments]

    def left() -> list[tuple[int, int]]:
        return [
            (number, trial)
            for number, kept in enumerate(stores)
            if not kept.finished()
            for trial in kept.missing()
        ]

    tasks, started = left(), time.monotonic()
    copies = None
    if settings.augment:
        crop_px = frames_record(out)["settings"]["crop"]["size_px"]
        copies = changed_copies(out / FRAMES, ready.samples, settings, crop_px)
    work = trials.SvmTrials(experiments, ready.samples, copies, out.resolve())
    workers = run_work(work, left, out, execution, progress, "trials", "trials")
    for kept in stores:
        if not kept.finished():
            kept.assemble()
    record = {
        "settings": settings.model_dump(mode="json"),
        "trials_run": len(tasks),
        "seconds": round(time.monotonic() - started, 3),
        "workers": workers,
        **ready.told(settings.classes),
    }
    if tasks or not (out / TRIALS_RECORD).is_file():
        store.write_json(record, out / TRIALS_RECORD)
    return record


def run_search(
    out: Path,
    settings: SearchSettings,
    splitting: TrialSettings,
    execution: Execution,
    progress: Progress,
    strict: bool = False,
    folds_file: Path | None = None,
) -> dict[str, Any]:
    """Search for the best classifier and features, inside the training part of each trial.

    Args:
        out: Run folder, held by the caller (`holding.run_folder`).
        settings: What to search.
        splitting: Protocol, classes and seed.
        execution: Workers.
        progress: Shows how far it is.
        strict: Refuse splits that leak.
        folds_file: Where to write the splits, as CSV.

    Returns:
        The record, as `search/EXPERIMENT.json` holds it.

    Raises:
        UserError: There are no finished frames, they do not allow this, or the splits leak.
    """
    ready = prepare(out, splitting, *settings.feature_sets, strict=strict, folds_file=folds_file)
    nested.require_subjects(ready.samples, ready.folds.splits)
    experiment = choice.plan_search(settings, splitting, ready.folds, ready.frames_key)
    file = out / choice.SEARCH / f"{experiment.name}.json"
    before = store.read_json(file)
    if before is not None and trials.TrialStore(out, experiment).finished():
        return before
    started = time.monotonic()
    paired = _paired(settings.feature_sets)
    by_set = {name: _samples(out, name, splitting, paired) for name in settings.feature_sets}
    work = choice.Search(experiment, by_set, out.resolve())
    workers = run_work(work, work.missing, out, execution, progress, "search", "pieces")
    work.assemble()
    record = {
        "experiment": experiment.name,
        "settings": settings.model_dump(mode="json"),
        "splitting": {
            **splitting.model_dump(mode="json", exclude={"kernels", "folds"}),
            "protocol": ready.folds.protocol,
        },
        "seconds": round(time.monotonic() - started, 3),
        "workers": workers,
        **ready.told(splitting.classes),
        "chosen": choice.chosen(out, experiment.name),
    }
    store.write_json(record, file)
    return record


def _paired(feature_sets: tuple[str, ...]) -> bool:
    """Whether one of the sets is a delta: then all are taken on the images that have one."""
    return any(needs_sequence(name) for name in feature_sets)


def _samples(out: Path, feature_set: str, settings: TrialSettings, paired: bool) -> Samples:
    found = samples.read_samples(out / FRAMES, feature_set, paired)
    return samples.of_classes(found, settings.classes)


def prepare(out: Path, settings: TrialSettings, *sets: str, strict: bool = False,
            folds_file: Path | None = None) -> Prepared:  # fmt: skip
    """Samples with the first of some feature sets, their splits, and the audit of these.

    Raises:
        UserError: There are no finished frames, they do not allow these trials, or the splits leak
            and are to be `strict`.
    """
    record = frames_record(out)
    frames = out / FRAMES
    known = set(read_table(frames, columns=["image_id"])["image_id"].to_pylist())
    chosen = _samples(out, sets[0], settings, _paired(sets))
    folds = folds_for(settings, chosen, known)
    if _paired(sets):
        folds.notes.append(_told_of_pairs(frames, len(chosen.labels)))
    identities = leakage.read_identities(frames, chosen.image_ids)
    audited = {"protocol": folds.protocol, **leakage.audit(identities, folds.splits)}
    key = "-".join([record["fingerprint"], record["source_digest"], *_bottleneck_keys(out, sets)])
    if folds_file is not None:
        write_folds(folds, chosen, folds_file)
    if strict:
        leakage.refuse_leaks(audited)
    return Prepared(chosen, replace(folds, leakage=audited), key)


def _told_of_pairs(frames: Path, taken: int) -> str:
    labelled = samples.read_samples(frames, "landmarks").labels
    return (
        f"A delta needs the sequence's first frame: {taken} peaks that have one with features take "
        f"part, of {len(labelled)} labelled images. --frames first-and-peak extracts all of them."
    )


def _bottleneck_keys(out: Path, feature_sets: tuple[str, ...]) -> list[str]:
    """What sets a backbone's features apart from those of other weights."""
    names = sorted({name for one in feature_sets for name in backbones_of(one)})
    return [str(trained_record(out, name)["key"]) for name in names]


def frames_record(out: Path) -> dict[str, Any]:
    """The record of a run folder's frames.

    Raises:
        UserError: It holds no finished ones.
    """
    record = finished_record(out)
    if record is None:
        raise UserError(
            f"{out} holds no finished frames: run `fer-ray extract --data TREE --out {out}` first."
        )
    return record


def late_cohorts(out: Path) -> dict[str, dict[str, Any]]:
    """Contempt within the late cohort, by experiment; empty where the source has none."""
    if not cohort.has_cohorts(frames_record(out)["data"]):
        return {}
    found = {
        name: cohort.late_cohort(predictions)
        for name, (_, predictions) in trials.read_experiments(out).items()
    }
    return {name: late.record() for name, late in found.items() if late is not None}
