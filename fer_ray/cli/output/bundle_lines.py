"""The lines of `fer-ray bundle`: what was saved, and the figures of its experiment."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

from fer_ray.cli.output.experiment_table import format_known
from fer_ray.models.bundles.bundle_manifest import CARD

if TYPE_CHECKING:  # slow to import
    from fer_ray.models.bundles.bundle import Bundle

MANY_ABSTENTIONS = 0.5  # a share of held-out images that calls for advice


def bundle_lines(bundle: "Bundle") -> Iterator[str]:
    """Yield the folder, the accuracy, advice on abstentions, and the model card."""
    evidence, confidence = bundle.manifest.evidence, bundle.manifest.confidence
    interval = format_known("95% interval {:.3f}–{:.3f}", *evidence.interval_95) or "no interval"
    yield f"bundle: {bundle.folder} (SHA-256 {bundle.sha256})"
    yield (
        f"{evidence.experiment} on {evidence.data}: accuracy {evidence.test_accuracy:.4f}, "
        f"{interval}; this model: {bundle.manifest.training.how}"
    )
    if confidence.abstained > MANY_ABSTENTIONS:
        yield (
            f"It abstains from {confidence.abstained:.0%} of held-out images, because several "
            "classes, or none, are probable enough. For more answers that are less certain, pass "
            "--abstain-below, such as 0.5, to predict and sweep."
        )
    yield f"model card: {bundle.folder / CARD}"
