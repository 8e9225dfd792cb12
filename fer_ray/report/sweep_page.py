"""The page of a sweep: coverage, failures, throughput, drift."""

from itertools import pairwise
from typing import Any

from fer_ray.report.html import render
from fer_ray.vocabulary import ERRORS, PLAN_KINDS

WIDTH, HEIGHT = 640, 180  # of the course of throughput, in its own units


def sweep_page(told: dict[str, Any]) -> str:
    """The HTML of a sweep's manifest, also of one that failed or was stopped; self-contained."""
    total = sum(told["statuses"].values())
    context = {
        "told": told,
        "total": total,
        "planned": [
            (PLAN_KINDS[kind], told["planned"][kind])
            for kind in PLAN_KINDS
            if kind in told["planned"]
        ],
        "statuses": [
            (status, count, count / total, status in set(ERRORS))
            for status, count in told["statuses"].items()
        ],
        "alerts": [one for one in told["drift"] if one["alert"]],
        "course": throughput(told["course"]),
        "width": WIDTH,
        "height": HEIGHT,
    }
    return render("sweep.html", context)


def throughput(course: list[list[float]]) -> dict[str, Any] | None:
    """The line of images a second over time, or None where there is too little to draw.

    Args:
        course: Seconds since the start, and images described by then.
    """
    pairs = pairwise(course)
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
