"""The frame of a job: its progress display, the lock of its folder, and the shutdown of Ray."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from fer_ray.errors import UserError

if TYPE_CHECKING:
    from fer_ray.execution.progress import Progress


@contextmanager
def open_job(out: Path, silent: bool = False, create: bool = False) -> "Iterator[Progress]":
    """Show a job from its start, lock its folder, and shut Ray down afterwards.

    Import what the job needs inside the block, so that the display is visible first.

    Args:
        out: The run folder, or the folder of predictions.
        silent: Show no progress.
        create: Create the folder if it does not exist; only for jobs that start a run.

    Yields:
        The progress display.

    Raises:
        UserError: The folder does not exist, or another job writes into it.
    """
    with open_display_of_job(silent) as progress, locked_run_folder(out, create):
        yield progress


@contextmanager
def open_display_of_job(silent: bool = False) -> "Iterator[Progress]":
    """Open a progress display that also shows the start of Ray."""
    from fer_ray.execution.progress import shown_on
    from fer_ray.execution.progress_bars import open_display

    with open_display(silent) as progress, shown_on(progress):
        yield progress


@contextmanager
def locked_run_folder(out: Path, create: bool = False) -> Iterator[None]:
    """Lock a run folder inside the block, and shut Ray down if it was started there.

    Args:
        out: The run folder.
        create: Create the folder if it does not exist.

    Raises:
        UserError: The folder does not exist, or another job writes into it.
    """
    from fer_ray.execution.cluster.session import ray_closed_after
    from fer_ray.storage.locks import lock_folder

    if not create and not out.exists():
        raise UserError(
            f"{out} does not exist, so it has no finished frames: run "
            f"`fer-ray extract --data TREE --out {out}` first, or correct --out."
        )
    with lock_folder(out), ray_closed_after():
        yield
