"""Steps that all experiments share: samples with audited splits, and running missing work items."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from fer_ray.evaluation.experiments import samples
from fer_ray.evaluation.experiments.experiment import PreparedData
from fer_ray.evaluation.experiments.samples import Samples
from fer_ray.evaluation.protocols import leakage
from fer_ray.evaluation.protocols.folds import folds_for, write_folds
from fer_ray.evaluation.protocols.splits import untrained_note
from fer_ray.execution.cluster.session import ensure_ray
from fer_ray.execution.cluster.shared_storage import require_shared
from fer_ray.execution.progress import Progress
from fer_ray.execution.signals import handle_sigterm, terminate
from fer_ray.execution.tasks.local_runner import run_items_locally, runs_locally
from fer_ray.features.bottleneck_features import trained_record
from fer_ray.settings.feature_sets import backbones_of, needs_sequence
from fer_ray.settings.root import Execution
from fer_ray.settings.training import TrialSettings
from fer_ray.storage.parquet import read_table
from fer_ray.storage.run_folder import RunFolder, frames_record


def prepare_trials(
    out: Path,
    settings: TrialSettings,
    *feature_sets: str,
    strict: bool = False,
    folds_file: Path | None = None,
) -> PreparedData:
    """Read samples, split them and audit the splits for leakage.

    Args:
        out: Run folder.
        settings: Protocol, classes and seed.
        *feature_sets: Feature sets that are compared; the samples have the first one.
        strict: Reject splits that leak.
        folds_file: CSV file to write the splits to.

    Raises:
        UserError: There are no finished frames, they do not allow these trials, or the splits leak
            and `strict` is set.
    """
    record, frames = frames_record(out), RunFolder(out).frames
    known_ids = set(read_table(frames, columns=["image_id"])["image_id"].to_pylist())
    paired = _need_pairs(feature_sets)
    first = _read_samples(out, feature_sets[0], settings, paired)
    folds = folds_for(settings, first, known_ids)
    if untrained := untrained_note(folds.splits, first.labels):
        folds.notes.append(untrained)
    if paired:
        folds.notes.append(_describe_pairs(frames, len(first.labels)))
    identities = leakage.read_identities(frames, first.image_ids)
    audit = {"protocol": folds.protocol, **leakage.audit(identities, folds.splits)}
    keys = [record["fingerprint"], record["source_digest"], *_bottleneck_keys(out, feature_sets)]
    if folds_file is not None:
        write_folds(folds, first, folds_file)
    if strict:
        leakage.require_no_leaks(audit)
    return PreparedData(first, replace(folds, leakage=audit), "-".join(keys))


def read_feature_sets(
    out: Path, feature_sets: tuple[str, ...], settings: TrialSettings
) -> dict[str, Samples]:
    """The samples with each feature set, of the same images in the same order."""
    paired = _need_pairs(feature_sets)
    return {name: _read_samples(out, name, settings, paired) for name in feature_sets}


def run_missing(
    work: Callable[[Any], None],
    missing: Callable[[], list[Any]],
    out: Path,
    execution: Execution,
    progress: Progress,
    name: str,
    unit: str,
    rows: int | None = None,
) -> int:
    """Run the missing work items: short ones in threads of this process, the others on Ray.

    Items without a result afterwards are run once more, since shared storage may show files late or
    lose them.

    Args:
        work: Runs an item and stores its result.
        missing: Returns the items without a stored result.
        out: Run folder.
        execution: Workers.
        progress: Displays the progress.
        name: Name of the stage in that display.
        unit: What it counts.
        rows: Rows that an item trains or tests on, if items can run in several threads. None: they
            cannot, and run on Ray unless the executor is `in-process`.

    Returns:
        The number of workers; 0 if no item was missing.
    """
    workers, threads = 0, 1 if rows is None else execution.workers
    for _ in range(2):
        if not (items := missing()):
            break
        if runs_locally(execution, len(items), rows):
            with progress(name, unit, len(items)) as advance, handle_sigterm(terminate):
                workers = run_items_locally(work, items, threads, advance)
            continue
        workers = ensure_ray(execution)
        require_shared(out)
        from fer_ray.execution.tasks.runner import run_items

        with progress(name, unit, len(items)) as advance:
            run_items(work, items, out, execution.workers, advance)
    return workers


def _read_samples(out: Path, feature_set: str, settings: TrialSettings, paired: bool) -> Samples:
    all_samples = samples.read_samples(RunFolder(out).frames, feature_set, paired)
    return samples.select_classes(all_samples, settings.classes)


def _need_pairs(feature_sets: tuple[str, ...]) -> bool:
    """Return whether one of the sets is a delta; then all are read for images that have a delta."""
    return any(needs_sequence(name) for name in feature_sets)


def _describe_pairs(frames: Path, count: int) -> str:
    labelled = samples.read_samples(frames, "landmarks").labels
    return (
        f"A delta needs the first frame of the sequence: {count} of {len(labelled)} labelled "
        "images are peaks with such a frame and are used. --frames first-and-peak extracts all of "
        "them."
    )


def _bottleneck_keys(out: Path, feature_sets: tuple[str, ...]) -> list[str]:
    """Fingerprints of the bottleneck features, which depend on the weights."""
    backbones = sorted({name for feature_set in feature_sets for name in backbones_of(feature_set)})
    return [str(trained_record(out, name)["key"]) for name in backbones]
