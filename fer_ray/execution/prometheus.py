"""Prometheus metrics of a sweep, exported by Ray on each node of a cluster."""

from ray.util.metrics import Counter, Gauge

IMAGES = "fer_ray_sweep_images"
LEFT = "fer_ray_sweep_images_left"
COMMITS = "fer_ray_sweep_commits"


class Metrics:
    """Metrics of a running sweep; Ray prefixes their names with `ray_`."""

    def __init__(self) -> None:
        self._images = Counter(IMAGES, "Images processed, by outcome.", ("status",))
        self._left = Gauge(LEFT, "Images that remain to be processed.")
        self._commits = Counter(COMMITS, "Commits of results.")

    def described(self, statuses: dict[str, int], left: int) -> None:
        """Count processed images by outcome, and set the number that remains."""
        for status, count in statuses.items():
            self._images.inc(count, tags={"status": status})
        self._left.set(left)

    def committed(self) -> None:
        """Count a commit."""
        self._commits.inc()
