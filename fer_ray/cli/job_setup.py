"""What commands set up around a job: the lock of the run folder, progress, the export of crops."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from fer_ray.errors import UserError
from fer_ray.storage.run_folder import RunFolder

if TYPE_CHECKING:
    from fer_ray.execution.progress import Progress
    from fer_ray.settings.root import Settings


@contextmanager
def locked_run_folder(out: Path, create: bool = False) -> Iterator[None]:
    """Lock the run folder during a job, and shut Ray down afterwards.

    Args:
        out: The run folder.
        create: Create the folder if it does not exist; only for jobs that start a run.

    Raises:
        UserError: The folder does not exist, or another job writes into it.
    """
    from fer_ray.execution.session import ray_closed_after
    from fer_ray.storage.locks import lock_folder

    if not create and not out.exists():
        raise UserError(
            f"{out} does not exist, so it has no finished frames: run "
            f"`fer-ray extract --data TREE --out {out}` first, or correct --out."
        )
    with lock_folder(out), ray_closed_after():
        yield


def start_child_ahead(record: Path) -> None:
    """Start the child process of a job that runs without Ray, while this process imports.

    Args:
        record: Exists if the job has finished before, so that it probably needs no child.
    """
    from fer_ray.execution.guard import start_ahead

    if not record.is_file() and not os.environ.get("RAY_ADDRESS"):
        start_ahead()


def progress_on(silent: bool) -> "Progress":
    """Create a progress display for the terminal; a silent one shows nothing."""
    from fer_ray.cli.console import progress_display

    return progress_display(silent)


@contextmanager
def exporting_crops(
    target: Path | None, data: Path, out: Path, settings: "Settings"
) -> Iterator[None]:
    """Export the crops to `target`, if any, when the job has finished.

    Raises:
        UserError: Crops cannot be written to `target`. Raised before the job starts.
    """
    if target is None:
        yield
        return
    from fer_ray.pipelines.export_crops import export_crops, require_target
    from fer_ray.sources.datasets.listing import source_root
    from fer_ray.storage.paths import require_output_outside

    require_output_outside(target, data)
    require_target(target)
    yield
    root, extract = source_root(data), settings.extract
    export_crops(RunFolder(out).frames, root, target, extract.decode, extract.crop.size_px)
