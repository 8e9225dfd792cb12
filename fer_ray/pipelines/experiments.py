"""Trials and search as jobs: splits prepared and audited, what is missing run, all recorded."""

from dataclasses import replace
from pathlib import Path

from fer_ray.evaluation import leakage, samples
from fer_ray.evaluation.experiment import Prepared
from fer_ray.evaluation.folds import folds_for, write_folds
from fer_ray.evaluation.samples import Samples
from fer_ray.features.bottleneck_features import trained_record
from fer_ray.settings.feature_sets import backbones_of, needs_sequence
from fer_ray.settings.training import TrialSettings
from fer_ray.storage.parquet import read_table
from fer_ray.storage.run_folder import RunFolder, frames_record


def prepare(out: Path, settings: TrialSettings, *sets: str, strict: bool = False,
            folds_file: Path | None = None) -> Prepared:  # fmt: skip
    """Samples with the first of some feature sets, their splits, and the audit of these.

    Raises:
        UserError: There are no finished frames, they do not allow these trials, or the splits leak
            and are to be `strict`.
    """
    record = frames_record(out)
    frames = RunFolder(out).frames
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


def _paired(feature_sets: tuple[str, ...]) -> bool:
    """Whether one of the sets is a delta: then all are taken on the images that have one."""
    return any(needs_sequence(name) for name in feature_sets)


def _samples(out: Path, feature_set: str, settings: TrialSettings, paired: bool) -> Samples:
    found = samples.read_samples(RunFolder(out).frames, feature_set, paired)
    return samples.of_classes(found, settings.classes)
