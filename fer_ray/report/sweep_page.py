"""The page of a sweep, and the page of a store: coverage, failures, throughput and drift."""

from collections.abc import Callable, Sequence
from functools import partial
from itertools import pairwise
from typing import Any

from fer_ray.evaluation.answers import FACE_FOUND, SET_SIZE
from fer_ray.report.rendering import render
from fer_ray.vocabulary import EMOTIONS, ERROR_STATUSES, PLAN_KINDS

WIDTH, HEIGHT = 640, 180  # of the throughput curve, in SVG units


def render_sweep_page(manifest: dict[str, Any]) -> str:
    """Render the manifest of a sweep, finished or not, as self-contained HTML."""
    context = {
        "manifest": manifest,
        "planned": [
            (meaning, manifest["planned"][kind])
            for kind, meaning in PLAN_KINDS.items()
            if kind in manifest["planned"]
        ],
        "statuses": _status_rows(manifest),
        "alerts": [drift for drift in manifest["drift"] if drift["alert"]],
        "drift": [drift_row(drift) for drift in manifest["drift"]],
        "throughput": throughput_curve(manifest["course"]),
        "width": WIDTH,
        "height": HEIGHT,
    }
    return render("sweep.html", context)


def render_store_page(manifests: Sequence[dict[str, Any]]) -> str:
    """Render the page of a store, which links its sweeps, as self-contained HTML.

    Args:
        manifests: Manifests of its latest sweeps, the newest first; at least one.
    """
    finished = [manifest for manifest in manifests if manifest["finished"]]
    context = {
        "newest": manifests[0],
        "drift": [drift_row(drift) for drift in manifests[0]["drift"]],
        "published": finished[0] if finished else None,
        "statuses": _status_rows(finished[0]) if finished else [],
        "sweeps": [(manifest, images_per_second(manifest)) for manifest in manifests],
        "trends": _trends(TRENDS, finished),
        "prediction_trends": _trends(_prediction_figures(finished), finished),
        "width": WIDTH,
        "height": HEIGHT,
    }
    return render("store.html", context)


def _status_rows(manifest: dict[str, Any]) -> list[tuple[str, int, float, bool, list[str]]]:
    """Each status with its images, their share, whether it is an error, and some paths."""
    total, examples = sum(manifest["statuses"].values()), manifest.get("examples", {})
    return [
        (status, count, count / total, status in set(ERROR_STATUSES), examples.get(status, []))
        for status, count in manifest["statuses"].items()
    ]


def images_per_second(manifest: dict[str, Any]) -> float | None:
    """Images that a sweep processed per second of processing; None if it processed none."""
    seconds = manifest["timings"].get("process")
    return manifest["described"] / seconds if seconds and manifest["described"] else None


def _error_percent(manifest: dict[str, Any]) -> float:
    return 100 * float(manifest["error_share"])


def _face_percent(manifest: dict[str, Any]) -> float | None:
    share = manifest["face_share"]
    return None if share is None else 100 * float(share)


Value = Callable[[dict[str, Any]], float | None]
Figure = tuple[str, str, Value]  # its name, its unit, and its value in a sweep
TRENDS: tuple[Figure, ...] = (
    ("Images per second", "/s", images_per_second),
    ("Images with a face", "%", _face_percent),
    ("Images that failed", "%", _error_percent),
)


def _prediction_figures(manifests: Sequence[dict[str, Any]]) -> tuple[Figure, ...]:
    """The figures of predictions whose drift any of the sweeps measured."""
    names = dict.fromkeys(drift["name"] for manifest in manifests for drift in manifest["drift"])
    return tuple(
        (
            f"Predicted: {name}" if name in EMOTIONS else name.capitalize(),
            "" if name == SET_SIZE else "%",
            partial(_drift_value, name),
        )
        for name in names
        if name != FACE_FOUND
    )


def _drift_value(name: str, manifest: dict[str, Any]) -> float | None:
    """A figure whose drift a sweep measured, in per cent or classes; None if it did not."""
    for drift in manifest["drift"]:
        if drift["name"] == name:
            return float(drift["share"]) * (1 if name == SET_SIZE else 100)
    return None


def _trends(
    figures: Sequence[Figure], newest_first: Sequence[dict[str, Any]]
) -> list[dict[str, Any]]:
    trends = (_trend(*figure, newest_first[::-1]) for figure in figures)
    return [trend for trend in trends if trend is not None]


def _trend(
    name: str, unit: str, value: Value, manifests: Sequence[dict[str, Any]]
) -> dict[str, Any] | None:
    """The curve of a figure over sweeps, the oldest first; None for fewer than two values."""
    known = [(manifest, value(manifest)) for manifest in manifests]
    values = [(manifest["started"], figure) for manifest, figure in known if figure is not None]
    if len(values) < 2:
        return None
    highest = max(figure for _, figure in values)
    step = WIDTH / (len(values) - 1)
    points = " ".join(
        f"{number * step:.1f},{HEIGHT - figure / (highest or 1) * HEIGHT:.1f}"
        for number, (_, figure) in enumerate(values)
    )
    ends = {"start": values[0][0][:10], "end": values[-1][0][:10]}
    figures = {"highest": highest, "last": values[-1][1], "count": len(values)}
    return {"name": name, "unit": unit, "points": points, **ends, **figures}


def drift_row(drift: dict[str, Any]) -> dict[str, Any]:
    """The cells of a figure's drift: shares in per cent, the mean size of a set in classes."""
    scale, digits, unit = (1, 2, "") if drift["name"] == SET_SIZE else (100, 1, "%")
    now, before = drift["share"], drift["before"]
    return {
        "name": drift["name"],
        "alert": drift["alert"],
        "now": f"{scale * now:.{digits}f}{unit}",
        "before": "–" if before is None else f"{scale * before:.{digits}f}{unit}",
        "change": "–" if before is None else f"{scale * (now - before):+.{digits}f}",
    }


def throughput_curve(samples: list[list[float]]) -> dict[str, Any] | None:
    """Compute the curve of images per second over time.

    Args:
        samples: Seconds since the start, and images processed by then.

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
