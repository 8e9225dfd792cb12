"""Shares of a sweep beside those of the sweeps before it: has what the camera sees changed?"""

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from itertools import islice
from typing import Any

COMPARED = 5  # sweeps before this one
FACE_FOUND = "face found"


@dataclass(frozen=True)
class Drift:
    """One share.

    Attributes:
        name: What it is the share of: "face found", or a class that the model sees.
        share: Now, 0 … 1.
        before: Its mean over the last sweeps, None if there are none.
        alert: Whether it moved by more than the threshold.
    """

    name: str
    share: float
    before: float | None
    alert: bool


def drift(
    told: dict[str, Any], earlier: Iterable[dict[str, Any]], threshold: float
) -> list[dict[str, Any]]:
    """Each share of a manifest beside its mean over the last sweeps under the same recipe.

    Args:
        told: The manifest of this sweep.
        earlier: Manifests before it, the newest first.
        threshold: Change of a share that is worth an alert.
    """
    same = (one for one in earlier if one["finished"] and one["recipe"] == told["recipe"])
    before = [shares(one) for one in islice(same, COMPARED)]
    found = []
    for name, share in shares(told).items():
        known = [one.get(name, 0.0) for one in before]
        mean = sum(known) / len(known) if known else None
        moved = mean is not None and abs(share - mean) > threshold
        found.append(asdict(Drift(name, share, mean, moved)))
    return found


def shares(told: dict[str, Any]) -> dict[str, float]:
    """The share of images with a face, and that of each class among the answers."""
    found = {} if told["face_share"] is None else {FACE_FOUND: float(told["face_share"])}
    total = sum(told["classes"].values())
    return found | {name: count / total for name, count in told["classes"].items()}
