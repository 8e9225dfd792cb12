"""Files of the user in a folder that a job writes: they are never replaced or removed."""

import os
from pathlib import Path

from fer_ray.errors import UserError
from fer_ray.storage.objects.object_path import ObjectPath
from fer_ray.storage.run_folder import LEASE, LOCK, PredictionFolder, RunFolder, TransferFolder

_LAYOUTS = (RunFolder, PredictionFolder, TransferFolder)
_ROOT = Path("out")
# Names of the files and folders that jobs write into their folder, and may replace or remove.
RESULT_NAMES = frozenset(
    path.name for layout in _LAYOUTS for path in vars(layout(_ROOT)).values() if path != _ROOT
)
_RECORDS = (
    RunFolder(_ROOT).extract_record,
    PredictionFolder(_ROOT).record,
    TransferFolder(_ROOT).record,
)
# One of these is in every folder of a job, finished or not.
_MARKERS = {LOCK, LEASE, *(record.name for record in _RECORDS)} | {
    name for name in RESULT_NAMES if name.endswith(".partial")
}


def require_own_folder(folder: Path) -> None:
    """Check that a folder contains no files of the user where a job writes its results.

    Raises:
        UserError: It contains some, such as a folder `frames`, and no job has written to it.
    """
    names = _names(folder)
    if not _MARKERS.isdisjoint(names):
        return
    foreign = [name for name in names if name in RESULT_NAMES and not _is_empty(folder / name)]
    if foreign:
        raise UserError(
            f"{folder} contains {', '.join(sorted(foreign))}, which fer_ray has not written. A job "
            "would replace these files. Pass a new folder."
        )


def require_outside_results(folder: Path, *used: Path) -> None:
    """Check that files of the user are not among the results in the folder of a job.

    Args:
        folder: The folder of the job.
        used: Sources of images, or other outputs.

    Raises:
        UserError: One is in a folder that jobs replace, such as `crops`.
    """
    for path in used:
        for name in RESULT_NAMES:
            if path.resolve().is_relative_to((folder / name).resolve()):
                raise UserError(
                    f"{path} is among the results in {folder}, which a job replaces. Pass another "
                    "folder."
                )


def _names(folder: Path) -> list[str]:
    if isinstance(folder, ObjectPath):
        return [entry.name for entry in folder.scan()] if folder.is_dir() else []
    try:
        return os.listdir(folder)  # noqa: PTH208 (names only)
    except OSError:  # missing, or reported when the folder is written to
        return []


def _is_empty(path: Path) -> bool:
    return path.is_dir() and not any(path.iterdir())
