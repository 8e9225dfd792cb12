"""`fer-ray transfer`: models trained on one source and tested on each of several."""

import importlib
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
from numpy.typing import NDArray

from fer_ray.errors import UserError
from fer_ray.evaluation.experiments.experiment import calibration_content, chosen_calibration
from fer_ray.evaluation.experiments.samples import read_samples, select_classes
from fer_ray.evaluation.protocols.inner_splits import require_subjects
from fer_ray.evaluation.transfer_cells import ANOTHER_SOURCE, TransferSource, plan_cells
from fer_ray.evaluation.transfer_figures import (
    TRANSFER_PREDICTIONS_SCHEMA,
    TRANSFER_SCHEMA,
    shared_classes,
    transfer_rows,
)
from fer_ray.execution.progress import Progress
from fer_ray.features.bottleneck_features import trained_record
from fer_ray.models.augmented_copies import training_copies
from fer_ray.models.transfer_trials import TransferTrials
from fer_ray.pipelines.training.experiments import run_missing
from fer_ray.settings.base import fingerprint
from fer_ray.settings.feature_sets import backbones_of, needs_sequence
from fer_ray.settings.root import Execution
from fer_ray.settings.training import TrialSettings
from fer_ray.storage.environment import library_versions
from fer_ray.storage.files import read_json, remove, write_json
from fer_ray.storage.parquet import write_table
from fer_ray.storage.run_folder import RunFolder, TransferFolder, frames_record
from fer_ray.vocabulary import EMOTIONS

SAME_SECTIONS = ("decode", "crop", "landmarks")  # of extraction settings, for equal features
NOT_USED = {"folds", "protocol", "n_trials", "train_share", "test_share"}

Record = dict[str, Any]


def run_transfer(
    train: list[Path],
    test: list[Path],
    out: Path,
    settings: TrialSettings,
    execution: Execution,
    progress: Progress,
    same_names: bool = True,
) -> dict[str, Any]:
    """Compute the matrix of models trained on each source and tested on each, and its page.

    Training images that share a subject or a picture with a test image are excluded. On its own
    source, a model is tested in 10 folds by subject.

    Args:
        train: Run folders to train on.
        test: Run folders to test on.
        out: Folder of the results, locked by the caller.
        settings: Features, classes, kernel and parameters of the SVM.
        execution: Workers.
        progress: Displays the progress.
        same_names: Whether a subject name that occurs in two sources means one person.

    Returns:
        The record, as in `transfer.json`.

    Raises:
        UserError: A run folder has no finished frames or no such features, or the frames were
            extracted in different ways.
    """
    if len(settings.kernels) > 1:
        raise UserError("transfer trains one SVM per source. Pass a single --kernel.")
    folders = list(dict.fromkeys(folder.resolve() for folder in [*train, *test]))
    records = [frames_record(folder) for folder in folders]
    rows, columns = ([folders.index(one.resolve()) for one in part] for part in (train, test))
    calibration = chosen_calibration(settings, ANOTHER_SOURCE)
    settings = settings.model_copy(update={"calibration": calibration})
    backbones = _weights(folders, settings)
    _require_same_features(folders, records, backbones)
    content = {
        "settings": settings.model_dump(mode="json", exclude=NOT_USED),
        "same_names_same_people": same_names,
        **calibration_content(calibration),
    }
    keys = [[record["fingerprint"], record["source_digest"]] for record in records]
    key = fingerprint([content, keys, backbones, rows, columns])
    target = TransferFolder(out)
    finished = read_json(target.record)
    if finished is not None and finished.get("fingerprint") == key:
        return {**finished, "already_finished": True}
    sources = _read_sources(folders, records, settings)
    cells = plan_cells(sources, rows, columns, same_names)
    if settings.C == "auto":
        for cell in cells:
            require_subjects(sources[cell.train].samples, [*cell.splits])
    copies = _copies(sources, rows, settings)
    trials = TransferTrials(sources, cells, copies, settings, target.partial / key[:16])
    if trials.missing():  # loads scikit-learn
        importlib.import_module("fer_ray.models.svm")
    max_rows = 2 * max(len(source.samples.labels) for source in sources)
    run_missing(trials, trials.missing, out, execution, progress, "transfer", "folds", max_rows)
    predictions = trials.predictions()
    record = {
        "fingerprint": key,
        **content,
        "sources": [_describe(*pair) for pair in zip(sources, records, strict=True)],
        "shared_classes": [EMOTIONS[code] for code in shared_classes(predictions)],
        "matrix": transfer_rows(sources, cells, predictions),
        "versions": library_versions(),
    }
    _write(target, record, predictions)
    return record


def _weights(folders: list[Path], settings: TrialSettings) -> list[dict[str, str]]:
    """SHA-256 of the weights of each backbone among the features, for each run folder."""
    if needs_sequence(settings.feature_set):
        raise UserError(
            "A delta needs the first frame of a sequence, which photographs do not have. Pass a "
            "--feature-set of single images."
        )
    names = backbones_of(settings.feature_set)
    return [
        {name: str(trained_record(out, name)["weights"]["sha256"]) for name in names}
        for out in folders
    ]


def _require_same_features(
    folders: list[Path], records: list[Record], backbones: list[dict[str, str]]
) -> None:
    """Require that all frames were extracted in the same way, so that features are comparable."""
    recipes = [
        _feature_recipe(record) | weights
        for record, weights in zip(records, backbones, strict=True)
    ]
    for folder, recipe in zip(folders[1:], recipes[1:], strict=True):
        names = dict.fromkeys([*recipes[0], *recipe])
        differing = [name for name in names if recipes[0].get(name) != recipe.get(name)]
        if differing:
            raise UserError(
                f"{folders[0]} and {folder} were extracted in different ways "
                f"({', '.join(differing)} differ), so a model of one cannot read the features of "
                "the other. Extract both with the same --profile and settings."
            )


def _feature_recipe(record: Record) -> dict[str, Any]:
    """Settings and model files that features depend on, by name."""
    settings = {
        f"extract.{section}.{name}": value
        for section in SAME_SECTIONS
        for name, value in record["settings"][section].items()
        if name != "file"
    }
    models = {f"model {name}": one["sha256"] for name, one in record["models"].items()}
    return settings | models


def _read_sources(
    folders: list[Path], records: list[Record], settings: TrialSettings
) -> list[TransferSource]:
    names = _unique_names(folders, records)
    samples = [read_samples(RunFolder(out).frames, settings.feature_set) for out in folders]
    return [
        TransferSource(name, out, select_classes(one, settings.classes))
        for name, out, one in zip(names, folders, samples, strict=True)
    ]


def _unique_names(folders: list[Path], records: list[Record]) -> list[str]:
    """The name of each source's folder of images, or where two are equal, of its run folder."""
    candidates = [
        [Path(record["data"]["root"]).name for record in records],
        [folder.name for folder in folders],
    ]
    unique = (names for names in candidates if max(Counter(names).values()) == 1)
    return next(unique, [str(folder) for folder in folders])


def _copies(
    sources: list[TransferSource], train: list[int], settings: TrialSettings
) -> dict[int, NDArray[np.float64]]:
    """Features of augmented copies of the images of each training source, by its number."""
    copies = {
        number: training_copies(sources[number].out, sources[number].samples, settings)
        for number in dict.fromkeys(train)
    }
    return {number: one for number, one in copies.items() if one is not None}


def _describe(source: TransferSource, record: Record) -> Record:
    counts = Counter(source.samples.labels.tolist())
    return {
        "name": source.name,
        "run": str(source.out),
        "root": record["data"]["root"],
        "synthetic": record["data"]["synthetic"],
        "selected": record["data"]["selected"],
        "images": len(source.samples.labels),
        "subjects": len({name for name in source.samples.subjects if name is not None}),
        "by_class": {EMOTIONS[code]: counts[code] for code in sorted(counts)},
    }


def _write(target: TransferFolder, record: Record, predictions: list[pd.DataFrame]) -> None:
    """Write all results; the record, which marks them as complete, is last."""
    from fer_ray.report.transfer_page import write_transfer_page

    remove(target.record)
    rows = pd.concat(predictions, ignore_index=True)
    table = pa.Table.from_pandas(rows, TRANSFER_PREDICTIONS_SCHEMA, preserve_index=False)
    write_table(table, target.predictions)
    write_table(pa.Table.from_pylist(record["matrix"], schema=TRANSFER_SCHEMA), target.matrix)
    write_transfer_page(target.root, record, rows)
    write_json(record, target.record)
    remove(target.partial)
