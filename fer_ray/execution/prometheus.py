"""A sweep's figures for Prometheus, by the exporter that Ray runs on each node of a cluster."""

from ray.util.metrics import Counter, Gauge

IMAGES = "fer_ray_sweep_images"
LEFT = "fer_ray_sweep_images_left"
COMMITS = "fer_ray_sweep_commits"


class Metrics:
    """What Ray's exporter tells of a sweep while it runs; it prefixes the names with `ray_`."""

    def __init__(self) -> None:
        self._images = Counter(IMAGES, "Images described, by their outcome.", ("status",))
        self._left = Gauge(LEFT, "Images that are still to be described.")
        self._commits = Counter(COMMITS, "Commits of results.")

    def described(self, statuses: dict[str, int], left: int) -> None:
        """Count images by outcome, and how many are left."""
        for status, count in statuses.items():
            self._images.inc(count, tags={"status": status})
        self._left.set(left)

    def committed(self) -> None:
        """Count a commit."""
        self._commits.inc()
