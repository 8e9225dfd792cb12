"""Comparison of configurations on Ray Tune."""

import logging
import os
import signal
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from fer_ray.execution.tuning import COST, LOSS, TIME, Configuration, Tuning, tune_sampled


class Descent:
    """A configuration whose loss is its rate; the process of the first one is lost once."""

    def __init__(self, configuration: Configuration, log: str, marker: Path) -> None:
        self._loss = configuration["rate"]
        if not marker.exists():
            marker.touch()
            os.kill(os.getpid(), signal.SIGKILL)

    def advance(self) -> dict[str, Any]:
        return {LOSS: self._loss, TIME: 1, COST: 0.1, "done": True}


@pytest.mark.slow
def test_lost_configuration_is_repeated(
    local_ray: int, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    logging.getLogger("ray.tune.execution.tune_controller").addHandler(caplog.handler)
    results: list[dict[str, Any]] = []
    tuning = Tuning(
        partial(Descent, marker=tmp_path / "lost"), max_epochs=1, grace_epochs=1, reduction=2,
        workers=2,
    )  # fmt: skip
    configurations = [{"rate": rate} for rate in (0.1, 0.2, 0.3)]
    tune_sampled(tuning, configurations, tmp_path, results.append, lambda _: None)
    assert sorted(result[LOSS] for result in results) == [0.1, 0.2, 0.3]
    assert "ActorDiedError" not in caplog.text
