"""Recognise a published data set by its files, or by the names of its images."""

from collections import Counter
from itertools import islice
from pathlib import Path

from fer_ray.settings.datasets import DATASETS, DatasetName
from fer_ray.settings.extraction import Selection
from fer_ray.sources.datasets.annotations.affectnet import affectnet_tables, annotation_folders
from fer_ray.sources.datasets.annotations.ferplus import VOTES_TABLE, part_lists
from fer_ray.sources.datasets.annotations.rafdb import rafdb_list
from fer_ray.sources.emotion_words import parse_word
from fer_ray.sources.image_files import image_paths, scan_folder
from fer_ray.sources.label_table import LABELS_FILE
from fer_ray.sources.labels import MAJORITY, parse_file_name
from fer_ray.sources.pixel_tables import is_pixel_table
from fer_ray.sources.quality import Quality

MAX_NAMES = 10_000  # of images, more than the data sets that are recognised by names have
SIMILAR = 0.5  # of the names, from which a data set is suggested
NAMED_DATASETS: tuple[DatasetName, ...] = ("jaffe", "kdef", "rafd", "ckplus48")


def find_dataset(data: Path, selection: Selection) -> DatasetName | None:
    """The published data set that the user chose, or that the files of a source show.

    Returns:
        None for other sources; CK+ trees are recognised by `datasets.ckplus`.
    """
    if selection.dataset is not None:
        return selection.dataset
    if data.is_file():
        if is_pixel_table(data):
            return "fer2013"
        return "affectnet" if affectnet_tables(data) else None
    if (data / LABELS_FILE).is_file():
        return None
    if found := find_label_files(data):
        return found
    return "fer2013" if pixel_tables(data) else _find_by_names(data, selection)


def find_label_files(data: Path) -> DatasetName | None:
    """The data set whose own label files are in a folder: FER+, RAF-DB, AffectNet or none."""
    if (data / VOTES_TABLE).is_file() or part_lists(data):
        return "ferplus"
    if rafdb_list(data):
        return "rafdb"
    return "affectnet" if annotation_folders(data) or affectnet_tables(data) else None


def pixel_tables(data: Path) -> list[Path]:
    """The tables of pixels in a folder, or a source that is one itself."""
    if data.is_file():
        return [data] if is_pixel_table(data) else []
    names = [entry.name for entry in scan_folder(data) if entry.name.lower().endswith(".csv")]
    return [data / name for name in names if is_pixel_table(data / name)]


def _find_by_names(data: Path, selection: Selection) -> DatasetName | None:
    name, count, total = _most_similar(data, selection)
    return name if count and count >= MAJORITY * total else None


def note_similar_names(data: Path, selection: Selection, quality: Quality) -> None:
    """Count images of a source without labels whose names look like those of a data set."""
    name, count, total = _most_similar(data, selection)
    if count and count >= SIMILAR * total:
        advice = f"{count} of {total} names look like {DATASETS[name].title}: pass --dataset {name}"
        quality.note("similar_names", advice, count)


def _most_similar(data: Path, selection: Selection) -> tuple[DatasetName, int, int]:
    """The data set that most names look like, their number, and that of all names."""
    paths = [*islice(image_paths(data, Quality(), selection.hidden_files), MAX_NAMES)]
    counts = Counter(dict.fromkeys(NAMED_DATASETS, 0))
    counts.update(name for path in paths for name in NAMED_DATASETS if _is_image_of(path, name))
    [(name, count)] = counts.most_common(1)
    return name, count, len(paths)


def _is_image_of(path: str, dataset: DatasetName) -> bool:
    """Whether the name of a file has the form of a data set's, in a folder of a class if needed."""
    if parse_file_name(path, dataset) is None:
        return False
    folders = path.split("/")[:-1]
    return DATASETS[dataset].labels_in != "folders" or any(
        parse_word(folder) is not None for folder in folders
    )
