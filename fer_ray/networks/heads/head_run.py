"""Training of one configuration of a head search, logged for TensorBoard."""

import json
import logging
import tempfile
import time
from pathlib import Path
from typing import Any

from fer_ray.errors import StoreLostError
from fer_ray.networks.heads.head import HeadTraining
from fer_ray.networks.heads.head_data import HeadData
from fer_ray.networks.heads.head_space import Configuration, head_settings
from fer_ray.storage.files import write_bytes
from fer_ray.storage.paths import is_object

STEP_EPOCHS = 5  # between two decisions about stopping a configuration early

logger = logging.getLogger(__name__)


class HeadRun:
    """Trains one configuration, a few epochs at a time, and logs it for TensorBoard."""

    def __init__(self, configuration: Configuration, data: HeadData, seed: int, logs: Path) -> None:
        from tensorboardX import SummaryWriter

        started = time.perf_counter()
        self._training = HeadTraining(head_settings(configuration), data, seed)
        self._logs = logs
        # Event files grow in a local folder if the run folder is in an object store.
        self._scratch = tempfile.TemporaryDirectory() if is_object(logs) else None
        self._local_logs = Path(self._scratch.name) if self._scratch else logs
        self._writer = SummaryWriter(str(self._local_logs))
        self._writer.add_text("configuration", json.dumps(configuration, sort_keys=True))
        self._seconds = time.perf_counter() - started

    def advance(self) -> dict[str, Any]:
        """Train `STEP_EPOCHS` more epochs and return the lowest validation loss and totals."""
        started = time.perf_counter()
        for _ in range(STEP_EPOCHS):
            if self._training.finished:
                break
            record = self._training.run_epoch()
            for name in ("train_loss", "train_accuracy", "validation_loss", "validation_accuracy"):
                self._writer.add_scalar(name, record[name], int(record["epoch"]))
        self._writer.flush()
        if self._scratch:
            self._upload_logs()
        self._seconds += time.perf_counter() - started
        return {
            "loss": self._training.best["validation_loss"],
            "epochs": len(self._training.history),
            "seconds": self._seconds,
            "done": self._training.finished,
        }

    def _upload_logs(self) -> None:
        try:
            for file in self._local_logs.iterdir():
                write_bytes(file.read_bytes(), self._logs / file.name)
        except StoreLostError as problem:  # the next upload has all events, and results have none
            logger.warning("cannot store TensorBoard logs: %s", problem)
