"""The page of a sweep: coverage, failures, throughput and drift."""

from itertools import pairwise
from typing import Any

from fer_ray.report.rendering import render
from fer_ray.vocabulary import ERROR_STATUSES, PLAN_KINDS

WIDTH, HEIGHT = 640, 180  # of the throughput curve, in SVG units


def render_sweep_page(manifest: dict[str, Any]) -> str:
    """Render the manifest of a sweep, finished or not, as self-contained HTML."""
    total = sum(manifest["statuses"].values())
    context = {
        "manifest": manifest,
        "total": total,
        "planned": [
            (meaning, manifest["planned"][kind])
            for kind, meaning in PLAN_KINDS.items()
            if kind in manifest["planned"]
        ],
        "statuses": [
            (status, count, count / total, status in set(ERROR_STATUSES))
            for status, count in manifest["statuses"].items()
        ],
        "alerts": [drift for drift in manifest["drift"] if drift["alert"]],
        "throughput": throughput_curve(manifest["course"]),
        "width": WIDTH,
        "height": HEIGHT,
    }
    return render("sweep.html", context)


def throughput_curve(samples: list[list[float]]) -> dict[str, Any] | None:
    """Compute the curve of images per second over time.

    Args:
        samples: Seconds since the start, and images described by then.

    Returns:
        `points` for an SVG polyline, the highest rate `most`, and the seconds `start` and `end`;
        None if there are too few samples.
    """
    pairs = pairwise(samples)
    rates = [(a[0], b[0], (b[1] - a[1]) / (b[0] - a[0])) for a, b in pairs if b[0] > a[0]]
    if not rates:
        return None
    start, end, most = rates[0][0], rates[-1][1], max(rate for _, _, rate in rates)
    points = " ".join(
        f"{(at - start) / (end - start) * WIDTH:.1f},{HEIGHT - rate / (most or 1) * HEIGHT:.1f}"
        for since, until, rate in rates
        for at in (since, until)
    )
    return {"points": points, "most": most, "start": start, "end": end}
