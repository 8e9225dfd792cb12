"""The request for a sweep, and the state that its steps share."""

import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa

from fer_ray.errors import StoppedError
from fer_ray.execution.guard import Steps
from fer_ray.execution.progress import Progress, silent
from fer_ray.execution.signals import handle_sigterm
from fer_ray.execution.tasks.task_runner import TaskRunner
from fer_ray.models.bundles.backbone_features import WeightOverrides
from fer_ray.pipelines.sweeps.planning.plan_partition import PlanContext
from fer_ray.pipelines.sweeps.planning.store_recipe import StoreRecipe
from fer_ray.pipelines.sweeps.publishing.fuse import Fuse
from fer_ray.pipelines.sweeps.record import SweepRecord
from fer_ray.pipelines.sweeps.scratch_files import SweepFiles
from fer_ray.settings.root import Settings
from fer_ray.sources.quality import Quality
from fer_ray.sources.streams.image_source import Source
from fer_ray.storage.delta_store import Store
from fer_ray.storage.table_folder import TableFolder

MAX_IN_PROCESS = 200_000  # images that are listed and planned without Ray


class StopFlag:
    """A flag that stops a sweep after the blocks that are running; SIGTERM sets it."""

    def __init__(self) -> None:
        self._event = threading.Event()

    def __call__(self) -> bool:
        """Return whether the sweep should stop."""
        return self._event.is_set()

    def set(self, *_: object) -> None:
        """Set the flag. The arguments of a signal handler are accepted and ignored."""
        self._event.set()


@dataclass(frozen=True)
class SweepRequest:
    """What to sweep, where the results go, and with which settings.

    Attributes:
        source: Path or URI of the images.
        store: Path or URI of the store; it is created if it does not exist.
        settings: Extraction settings, which define the rows, and the policies of `sweep`.
        progress: Progress display.
        model: Model bundle that adds predictions. Its extraction settings replace those of
            `settings`. None: the rows have no predictions.
        weights: Weight files by backbone of the bundle; a backbone without one uses the default.
        steps: Turns the bytes of an image into rows. None: the extraction steps.
        stop: Stops the sweep once set. None: only SIGTERM stops it.
    """

    source: str
    store: str
    settings: Settings
    progress: Progress = silent
    model: Path | None = None
    weights: WeightOverrides = ()
    steps: Steps | None = None
    stop: StopFlag | None = None


@dataclass
class SweepContext:
    """The state that the steps of one sweep share.

    Attributes:
        steps: The pickled function that turns the bytes of an image into rows.
        schema: Schema of the rows of `results`.
        context: What queries need to know.
        scratch: Folder of the files that tasks exchange.
        runner: Runs tasks.
        stop: Stops the sweep once set.
        quality: Irregularities of the source.
        files: What the tasks have written so far.
    """

    source: Source
    store: Store
    settings: Settings
    recipe: StoreRecipe
    steps: bytes
    progress: Progress
    record: SweepRecord
    schema: pa.Schema
    fuse: Fuse
    context: PlanContext
    scratch: TableFolder
    runner: TaskRunner
    stop: StopFlag
    quality: Quality = field(default_factory=Quality)
    files: SweepFiles = field(default_factory=SweepFiles)

    def run(self, task: Callable[[Any], Any], items: Iterator[Any]) -> Iterator[Any]:
        """Run a task on items and yield its results, in any order.

        Raises:
            StoppedError: The stop flag is set.
        """
        if self.runner.in_process:  # SIGTERM ends the process
            yield from self.runner.run(task, items)
        else:
            with handle_sigterm(self.stop.set):
                yield from self.runner.run(task, items)
        raise_if_stopped(self)

    def needs_ray_for(self, images: int) -> bool:
        """Whether Ray is to be started because there are many images to list or plan."""
        executor = self.settings.execution.executor
        return images > MAX_IN_PROCESS and executor != "in-process" and self.runner.in_process

    @property
    def commit_metadata(self) -> dict[str, str]:
        """The metadata that each commit of this sweep carries."""
        return {
            "sweep": self.record.sweep,
            "recipe": self.recipe.fingerprint,
            "source": self.source.location,
        }

    @property
    def retention_start(self) -> str:
        """A sweep name; sweeps whose names sort before it are older than the retention."""
        retention = timedelta(hours=self.settings.sweep.retention_hours)
        return name_prefix(self.record.started - retention)


def name_prefix(started: datetime) -> str:
    """The beginning of the name of a sweep that starts at `started` (UTC); names sort by time."""
    return f"{started:%Y%m%dT%H%M%S}.{started.microsecond // 1000:03}Z"


def raise_if_stopped(sweep: SweepContext) -> None:
    """Stop the sweep here if its stop flag is set.

    Raises:
        StoppedError: The flag is set.
    """
    if sweep.stop():
        raise StoppedError(
            f"Stopped. The results of {sweep.record.processed} images are committed. Rerun the "
            "same command to resume."
        )
