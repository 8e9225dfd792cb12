"""The figures of a store's last sweep in the text format of Prometheus.

A sweep may run without Ray, and its process ends before the last values are scraped. A file in the
store therefore has the figures that alerts need.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

Figure = tuple[str, str, float | None]


def render_metrics(manifests: Sequence[dict[str, Any]]) -> str:
    """Render the metrics of a store.

    Args:
        manifests: Manifests of its latest sweeps, the newest first; at least one.

    Returns:
        One gauge per figure, labelled with the store; unknown figures are left out.
    """
    newest = manifests[0]
    label = f'{{store="{_escape(newest["store"])}"}}'
    lines = []
    for name, meaning, value in _figures(newest, manifests):
        if value is not None:
            metric = f"fer_ray_sweep_{name}"
            lines += [f"# HELP {metric} {meaning}", f"# TYPE {metric} gauge"]
            lines += [f"{metric}{label} {value:.15g}"]
    return "\n".join(lines) + "\n"


def _figures(newest: dict[str, Any], manifests: Sequence[dict[str, Any]]) -> list[Figure]:
    succeeded = next((item for item in manifests if item["exit_code"] == 0), None)
    finished = next((item for item in manifests if item["finished"]), None)
    return [
        ("exit_code", "Exit code of the last sweep.", newest["exit_code"]),
        ("end_timestamp_seconds", "End of the last sweep.", _seconds(newest)),
        ("success_timestamp_seconds", "End of the last successful sweep.",
         _seconds(succeeded) if succeeded else None),
        ("duration_seconds", "Duration of the last sweep.", newest["timings"]["total"]),
        ("listed_images", "Images that the last sweep found in the source.", newest["listed"]),
        ("processed_images", "Images that the last sweep processed.", newest["described"]),
        ("published_rows", "Rows that the last sweep published.",
         newest["published"].get("put", 0)),
        ("error_ratio", "Share of the images of the store that failed.",
         finished["error_share"] if finished else None),
        ("face_ratio", "Share of the processed images of the store with a face.",
         finished["face_share"] if finished else None),
        ("drift_alerts", "Shares that drifted in the last sweep.",
         sum(bool(drift["alert"]) for drift in newest["drift"])),
    ]  # fmt: skip


def _seconds(manifest: dict[str, Any]) -> float:
    """The end of a sweep, in seconds since 1970."""
    return datetime.fromisoformat(manifest["ended"]).timestamp()


def _escape(text: str) -> str:
    """A label value, escaped as the format requires."""
    return text.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")
