"""Prometheus metrics of jobs, exported by Ray on each node of a cluster.

Ray prefixes their names with `ray_`, and appends `_total` to counters.
"""

from collections.abc import Mapping
from functools import cache

from ray.util.metrics import Counter, Gauge

IMAGES = "fer_ray_sweep_images"
LEFT = "fer_ray_sweep_images_left"
COMMITS = "fer_ray_sweep_commits"
EXTRACTED = "fer_ray_extract_images"
EXTRACT_LEFT = "fer_ray_extract_images_left"
TRIALS = "fer_ray_trials"
TRIALS_LEFT = "fer_ray_trials_left"


class Metrics:
    """Metrics of a running sweep."""

    def __init__(self) -> None:
        self._images = Counter(IMAGES, "Images processed, by outcome.", ("status",))
        self._left = Gauge(LEFT, "Images that remain to be processed.")
        self._commits = Counter(COMMITS, "Commits of results.")

    def described(self, statuses: dict[str, int], left: int) -> None:
        """Count processed images by outcome, and set the number that remains."""
        _count_by_status(self._images, statuses)
        self._left.set(left)

    def committed(self) -> None:
        """Count a commit."""
        self._commits.inc()


class TrialMetrics:
    """Metrics of running trials.

    Args:
        left: Trials that remain to be run.
    """

    def __init__(self, left: int) -> None:
        self._done = Counter(TRIALS, "Finished trials, by outcome.", ("outcome",))
        self._gauge = Gauge(TRIALS_LEFT, "Trials that remain to be run.")
        self._left = left
        self._gauge.set(left)

    def ended(self, failed: bool) -> None:
        """Count a trial."""
        self._done.inc(1, tags={"outcome": "failed" if failed else "done"})
        self._left -= 1
        self._gauge.set(self._left)


def count_extracted(statuses: Mapping[str, int]) -> None:
    """Count the images of an extracted block by outcome, in the process that extracted them."""
    _count_by_status(_extracted(), statuses)


def set_extraction_left(left: int) -> None:
    """Set the number of images that remain to be extracted, in the driver."""
    _extraction_left().set(left)


def _count_by_status(counter: Counter, statuses: Mapping[str, int]) -> None:
    for status, count in statuses.items():
        counter.inc(count, tags={"status": status})


@cache
def _extracted() -> Counter:
    return Counter(EXTRACTED, "Images extracted, by outcome.", ("status",))


@cache
def _extraction_left() -> Gauge:
    return Gauge(EXTRACT_LEFT, "Images that remain to be extracted.")
