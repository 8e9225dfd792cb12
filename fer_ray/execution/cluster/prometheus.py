"""Prometheus metrics of jobs, exported by Ray on each node of a cluster.

Ray prefixes their names with `ray_`, and appends `_total` to counters.
"""

import threading
from collections.abc import Mapping
from functools import cache
from typing import Self

from ray.util.metrics import Counter, Gauge

IMAGES = "fer_ray_sweep_images"
LEFT = "fer_ray_sweep_images_left"
COMMITS = "fer_ray_sweep_commits"
EXTRACTED = "fer_ray_extract_images"
EXTRACT_LEFT = "fer_ray_extract_images_left"
TRIALS = "fer_ray_trials"
TRIALS_LEFT = "fer_ray_trials_left"
REPEAT_S = 5.0  # less than `metrics_report_interval_ms` of Ray


class Remaining:
    """A gauge of the items that remain, exported while it is entered.

    Ray drops the value of a gauge that is not set again within two of its report intervals, so a
    thread sets it repeatedly.

    Args:
        name: Name of the metric.
        description: Help text of the metric.
        left: Items that remain.
    """

    def __init__(self, name: str, description: str, left: int) -> None:
        self._gauge = Gauge(name, description)
        self._left = left
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._export, name=name, daemon=True)

    def __enter__(self) -> Self:
        """Start exporting."""
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Stop exporting."""
        self._ended.set()
        self._thread.join()

    def set(self, left: int) -> None:
        """Set the number of items that remain."""
        self._left = left
        self._gauge.set(left)

    def subtract(self, items: int) -> None:
        """Subtract items that ended."""
        self.set(self._left - items)

    def _export(self) -> None:
        while not self._ended.is_set():
            self._gauge.set(self._left)
            self._ended.wait(REPEAT_S)


class SweepMetrics(Remaining):
    """Metrics of a running sweep, exported while they are entered.

    Args:
        left: Images that remain to be processed.
    """

    def __init__(self, left: int) -> None:
        super().__init__(LEFT, "Images that remain to be processed.", left)
        self._images = Counter(IMAGES, "Images processed, by outcome.", ("status",))
        self._commits = Counter(COMMITS, "Commits of results.")

    def processed(self, statuses: dict[str, int], left: int) -> None:
        """Count processed images by outcome, and set the number that remains."""
        _count_by_status(self._images, statuses)
        self.set(left)

    def committed(self) -> None:
        """Count a commit."""
        self._commits.inc()


class TrialMetrics(Remaining):
    """Metrics of running trials, exported while they are entered.

    Args:
        left: Trials that remain to be run.
    """

    def __init__(self, left: int) -> None:
        super().__init__(TRIALS_LEFT, "Trials that remain to be run.", left)
        self._done = Counter(TRIALS, "Finished trials, by outcome.", ("outcome",))

    def ended(self, failed: bool) -> None:
        """Count a trial."""
        self._done.inc(1, tags={"outcome": "failed" if failed else "done"})
        self.subtract(1)


def extraction_remaining(left: int) -> Remaining:
    """Return the gauge of the images that remain to be extracted, for the driver."""
    return Remaining(EXTRACT_LEFT, "Images that remain to be extracted.", left)


def count_extracted(statuses: Mapping[str, int]) -> None:
    """Count the images of an extracted block by outcome, in the process that extracted them."""
    _count_by_status(_extracted(), statuses)


def _count_by_status(counter: Counter, statuses: Mapping[str, int]) -> None:
    for status, count in statuses.items():
        counter.inc(count, tags={"status": status})


@cache
def _extracted() -> Counter:
    return Counter(EXTRACTED, "Images extracted, by outcome.", ("status",))
