"""The plan of an extraction: its images and settings, compared with those of the run folder."""

import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from fer_ray.errors import MismatchError, UserError
from fer_ray.faces.loaded_models import require_face_models
from fer_ray.faces.model_paths import model_hashes
from fer_ray.settings.extraction import ExtractSettings, extract_fingerprint
from fer_ray.sources.datasets.listing import Listing, list_source
from fer_ray.storage.foreign_files import require_outside_results
from fer_ray.storage.paths import require_output_outside
from fer_ray.storage.run_folder import extraction_record, finished_extraction


@dataclass(frozen=True)
class ExtractionPlan:
    """The plan of an extraction.

    Attributes:
        listing: The selected images.
        settings: Settings that define the rows.
        fingerprint: Fingerprint of the settings and the model files.
        source_digest: Digest of the listing and of the sizes and times of its files.
        finished: Record of a finished extraction with the same settings and images, or None.
        reuses_rows: Whether `out` has frames with the same settings, whose unchanged images need
            not be extracted again.
        list_seconds: Duration of the listing.
    """

    listing: Listing
    settings: ExtractSettings
    fingerprint: str
    source_digest: str
    finished: dict[str, Any] | None
    list_seconds: float
    reuses_rows: bool = False

    @property
    def staging_key(self) -> str:
        """Name of the folder for finished blocks of exactly this extraction."""
        return f"{self.fingerprint[:16]}-{self.source_digest[:16]}"


def plan_extraction(
    data: Path, out: Path, settings: ExtractSettings, fresh: bool
) -> ExtractionPlan:
    """List the source and compare it with the contents of `out`.

    Args:
        data: Source of the images.
        out: Run folder.
        settings: Settings that define the rows.
        fresh: Replace frames of other settings or images.

    Raises:
        UserError: The source or a model is missing.
        MismatchError: `out` has frames from other settings or another source, and `fresh` is not
            set.
    """
    require_output_outside(out, data)
    require_outside_results(out, data)
    require_face_models(settings)
    started = time.monotonic()
    listing = list_source(data, settings.selection)
    plan = ExtractionPlan(
        listing,
        settings,
        extract_fingerprint(settings, model_hashes(settings)),
        listing.digest(),
        extraction_record(out),
        time.monotonic() - started,
    )
    if plan.finished is None:
        return plan
    if fresh:
        return replace(plan, finished=None)
    same_files = plan.finished["source_digest"] == plan.source_digest
    changes = _changed_settings(plan, plan.finished)
    if not changes and not same_files:
        changes = _other_source(plan, plan.finished)
    if changes:
        raise MismatchError(
            f"{out} has frames of another run: {'; '.join(changes)}.\n"
            "Pass another --out to preserve them, or --fresh to replace them."
        )
    is_complete = finished_extraction(out) is not None
    if is_complete and same_files:
        return plan
    return replace(plan, finished=None, reuses_rows=is_complete)


def require_one_row_per_image(settings: ExtractSettings) -> None:
    """Reject settings under which an image may have several rows of frames.

    Raises:
        UserError: All faces of an image would have a row.
    """
    if settings.crop.faces == "all":
        raise UserError(
            "Frames have one row per image, because a label belongs to one face: pass --faces one "
            "or --faces largest. `fer-ray predict` and `fer-ray sweep` accept --faces all."
        )


def describe_changes(plan: ExtractionPlan, record: dict[str, Any]) -> list[str]:
    """Differences between a planned extraction and the record of an earlier one, as phrases."""
    changes = _changed_settings(plan, record)
    other_selection = any(change.startswith("extract.selection.") for change in changes)
    if record.get("source_digest") != plan.source_digest and not other_selection:
        old_count = record.get("data", {}).get("selected")
        changes.append(
            f"the source has changed ({old_count} images then, "
            f"{plan.listing.table.num_rows} now; names, labels, sizes or times differ)"
        )
    return changes


def _changed_settings(plan: ExtractionPlan, record: dict[str, Any]) -> list[str]:
    if record.get("fingerprint") == plan.fingerprint:
        return []
    old = _flatten(record.get("settings", {}))
    new = _flatten(plan.settings.model_dump(mode="json"))
    changed = [name for name in {**old, **new} if old.get(name) != new.get(name)]
    changes = [f"extract.{name} was {old.get(name)} and is now {new.get(name)}" for name in changed]
    return changes or ["a model file or the table's schema differs"]


def _other_source(plan: ExtractionPlan, record: dict[str, Any]) -> list[str]:
    """A phrase if the frames come from another source, which has none of the same files."""
    old, new = record["data"].get("root"), plan.listing.summary["root"]
    return [] if old == new else [f"the source was {old} and is now {new}"]


def _flatten(tree: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested settings as one level, with dotted names."""
    flat: dict[str, Any] = {}
    for name, value in tree.items():
        if isinstance(value, dict):
            flat |= _flatten(value, f"{prefix}{name}.")
        else:
            flat[prefix + name] = value
    return flat
