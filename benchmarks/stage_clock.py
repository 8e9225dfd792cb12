"""Seconds that the steps of extraction spend in each stage."""

import time
from collections import defaultdict
from collections.abc import Callable

from fer_ray.vocabulary import Stage


class StageClock:
    """Seconds spent in each stage; pass `enter` to `ImageSteps`, and call `stop` after it.

    Args:
        clock: Function that returns the current time in seconds.
    """

    def __init__(self, clock: Callable[[], float] = time.process_time) -> None:
        self.seconds = defaultdict[Stage, float](float)
        self._clock = clock
        self._stage: Stage | None = None
        self._started = 0.0

    def enter(self, image: int | None, stage: Stage) -> None:
        """End the current stage and begin the next one."""
        self.stop()
        self._stage, self._started = stage, self._clock()

    def stop(self) -> None:
        """End the current stage."""
        if self._stage is not None:
            self.seconds[self._stage] += self._clock() - self._started
        self._stage = None
