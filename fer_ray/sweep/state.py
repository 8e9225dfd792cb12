"""What the steps of one sweep share."""

import threading
from dataclasses import dataclass, field
from datetime import timedelta

import pyarrow as pa

from fer_ray.config import Settings
from fer_ray.data.quality import Quality
from fer_ray.errors import StoppedError
from fer_ray.progress import Progress
from fer_ray.sweep.fuse import Fuse
from fer_ray.sweep.ledger import Ledger
from fer_ray.sweep.recipe import Recipe
from fer_ray.sweep.record import Record, name_at
from fer_ray.sweep.source import Source
from fer_ray.sweep.store import Store


class Stop:
    """Whether SIGTERM came: a sweep then ends in good order."""

    def __init__(self) -> None:
        self._set = threading.Event()

    def __call__(self) -> bool:
        """Whether it is to end."""
        return self._set.is_set()

    def set(self, *_: object) -> None:
        """Ask the sweep to end; serves as a signal handler."""
        self._set.set()


@dataclass
class Sweep:
    """What the steps of one sweep share."""

    source: Source
    store: Store
    settings: Settings
    recipe: Recipe
    ledger: Ledger
    describe: bytes
    progress: Progress
    record: Record
    schema: pa.Schema  # of results
    fuse: Fuse
    stop: Stop = field(default_factory=Stop)
    quality: Quality = field(default_factory=Quality)  # what is odd about the source

    @property
    def meta(self) -> dict[str, str]:
        """What each commit says of where it comes from."""
        return {"sweep": self.record.sweep, "recipe": self.recipe.fingerprint}

    @property
    def oldest_kept(self) -> str:
        """What names of sweeps within the retention sort after."""
        keep = timedelta(hours=self.settings.sweep.retention_hours)
        return name_at(self.record.started - keep)


def stop_here(sweep: Sweep) -> None:
    """End the sweep here, if it is to end.

    Raises:
        StoppedError: It is.
    """
    if sweep.stop():
        raise StoppedError(
            f"Stopped; {sweep.record.described} images that were finished are committed. The same "
            "command goes on with the rest."
        )
