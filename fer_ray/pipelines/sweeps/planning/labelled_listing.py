"""The listing of a sweep with labels: from label files, a CK+ layout, or folders."""

from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa

from fer_ray.pipelines.sweeps.context import SweepContext
from fer_ray.pipelines.sweeps.planning.list_folders import LABEL_FIELDS, list_folders, write_rows
from fer_ray.sources.datasets.listing import count_emotions
from fer_ray.sources.datasets.photographs import match_labels
from fer_ray.sources.datasets.published import wrong_dataset
from fer_ray.sources.datasets.recognition import pixel_tables
from fer_ray.sources.label_table import LABELS_FILE, LabelTableError
from fer_ray.sources.labels import FolderLabels, Label
from fer_ray.sources.streams.stream_labels import find_labels, pixel_rows_error
from fer_ray.store_schemas import IMAGES_SCHEMA

LABELS = pa.schema([IMAGES_SCHEMA.field("path"), *LABEL_FIELDS])


def list_source(sweep: SweepContext) -> None:
    """List the images of the source and their labels into scratch files.

    Raises:
        SourceLostError: A folder cannot be listed.
        UserError: A node sees other folders than the driver, labels.csv is not a table of labels
            and no folder is named after an emotion, or no image belongs to the selected data set.
    """
    selection, problem = sweep.settings.extract.selection, None
    try:
        labels = find_labels(sweep.source, sweep.quality, selection)
    except LabelTableError as error:
        if selection.layout != "auto":
            raise
        labels, problem = None, error
    by_folder = labels is None and selection.layout != "images"
    folder_labels = list_folders(sweep, by_folder)
    if not sweep.files.listed and sweep.source.local and pixel_tables(Path(sweep.source.root)):
        raise pixel_rows_error(sweep.source.uri)
    if labels:
        _write_labels(sweep, labels)
    elif by_folder:
        _use_folder_labels(sweep, folder_labels, problem)


def _write_labels(sweep: SweepContext, labels: dict[str, Label]) -> None:
    """Write labels by path to scratch files, in the spelling of the listed paths."""
    missing = set(labels)
    for path in _listed_paths(sweep):
        missing.discard(path)
    if missing:
        labels = match_labels(labels, missing, _listed_paths(sweep), sweep.quality)
    rows = [(path, one.subject, one.emotion, one.code) for path, one in labels.items()]
    sweep.files.labels = write_rows(sweep.scratch, "labels", rows, LABELS)
    sweep.record.by_emotion = count_emotions(label._asdict() for label in labels.values())


def _listed_paths(sweep: SweepContext) -> Iterator[str]:
    for batch in sweep.scratch.batches(sweep.files.listing, ["path"]):
        yield from batch["path"].to_pylist()


def _use_folder_labels(
    sweep: SweepContext, folder_labels: FolderLabels, problem: LabelTableError | None
) -> None:
    """Report what folders were read as, and leave out their labels if they are not classes."""
    selection = sweep.settings.extract.selection
    if selection.dataset and sweep.files.listed and not folder_labels.codes_found:
        raise wrong_dataset(sweep.source.uri, selection.dataset)
    required = selection.layout == "folders" or selection.dataset is not None
    if folder_labels.are_used(required, sweep.quality):
        sweep.record.class_folders = folder_labels.records()
        sweep.record.by_emotion = folder_labels.by_emotion()
        if problem is not None:
            sweep.quality.note("other_labels_file", LABELS_FILE)
        return
    if problem is not None:
        raise problem
    sweep.context = sweep.context._replace(folder_labels=False)
