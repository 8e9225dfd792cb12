"""`fer-ray extract`: what an extraction has to do, doing it, and the record of it."""

import logging
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pyarrow as pa

from fer_ray import __version__
from fer_ray.errors import MismatchError
from fer_ray.execution.session import ensure_ray, require_shared
from fer_ray.faces.crops import cascade_file
from fer_ray.faces.landmarks import LandmarkLocator, import_dlib, landmark_model_file, model_sha256
from fer_ray.settings.extraction import ExtractSettings, extract_fingerprint
from fer_ray.settings.root import Execution
from fer_ray.sources.datasets.listing import Listing, list_source, require_output_outside
from fer_ray.storage.files import remove, write_json
from fer_ray.storage.parquet import read_table
from fer_ray.storage.run_folder import RunFolder, extraction_record, finished_extraction
from fer_ray.storage.staging import StagedRows
from fer_ray.vocabulary import CASCADES, SCHEMA_VERSION, Status

logger = logging.getLogger(__name__)
Advance = Callable[[int], None]


@dataclass(frozen=True)
class ExtractionPlan:
    """What an extraction has to do.

    Attributes:
        listing: The selected images.
        settings: Settings that define the rows.
        fingerprint: Fingerprint of the settings and the landmark model.
        source_digest: Digest of the listing and of the sizes and times of its files.
        finished: Record of a finished extraction with the same settings and images, or None.
        list_seconds: Duration of the listing.
    """

    listing: Listing
    settings: ExtractSettings
    fingerprint: str
    source_digest: str
    finished: dict[str, Any] | None
    list_seconds: float

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
        MismatchError: `out` has frames from other settings or images, and `fresh` is not set.
    """
    cascade_file(settings.crop.cascades[0])
    import_dlib()
    model = model_sha256(landmark_model_file(settings.landmarks.model))
    if settings.landmarks.model is not None:  # a user's file may be anything
        LandmarkLocator(settings.landmarks)
    started = time.monotonic()
    listing = list_source(data, settings.selection)
    require_output_outside(out, listing.root, listing.summary["layout"])
    plan = ExtractionPlan(
        listing,
        settings,
        extract_fingerprint(settings, model),
        listing.digest(),
        extraction_record(out),
        time.monotonic() - started,
    )
    if plan.finished is None:
        return plan
    changes = describe_changes(plan, plan.finished)
    if changes and not fresh:
        raise MismatchError(
            f"{out} has frames of another run: {'; '.join(changes)}.\n"
            "Pass another --out to preserve them, or --fresh to replace them."
        )
    is_finished = not changes and not fresh and finished_extraction(out)
    return plan if is_finished else replace(plan, finished=None)


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
    changes = [f"extract.{name} was {old.get(name)}, is {new.get(name)}" for name in changed]
    return changes or ["the landmark model or the table's schema differs"]


def _flatten(tree: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested settings as one level, with dotted names."""
    flat: dict[str, Any] = {}
    for name, value in tree.items():
        if isinstance(value, dict):
            flat |= _flatten(value, f"{prefix}{name}.")
        else:
            flat[prefix + name] = value
    return flat


def extract(
    plan: ExtractionPlan, out: Path, execution: Execution, advance: Advance
) -> dict[str, Any]:
    """Extract the images that are left, and write `frames` and its record.

    Args:
        plan: From `plan_extraction`. A finished one is returned unchanged.
        out: Run folder, locked by the caller.
        execution: Workers and block size.
        advance: Called with the number of rows just finished.

    Returns:
        The record, as in `extract.json`.
    """
    if plan.finished is not None:
        return plan.finished
    run = RunFolder(out)
    for path in (run.extract_record, *run.derived_from_frames()):
        remove(path)
    staged = StagedRows(RunFolder(out.resolve()).frames_partial / plan.staging_key)
    started = time.monotonic()
    count = extract_missing(plan, staged, execution, advance)
    seconds = time.monotonic() - started
    staged.assemble(run.frames, _schema(plan.settings))
    record = build_record(plan, run.frames, seconds, count)
    write_json(record, run.extract_record)
    staged.remove()
    logger.info("extracted %d images in %.1f s", count, seconds)
    return record


def _schema(settings: ExtractSettings) -> pa.Schema:
    from fer_ray.execution.chain import extraction_schema

    return extraction_schema(settings)


def extract_missing(
    plan: ExtractionPlan,
    staged: StagedRows,
    execution: Execution,
    advance: Advance,
    **predicting: Any,
) -> int:
    """Extract the rows that `staged` does not have yet, and return their number.

    Args:
        plan: What to extract.
        staged: Where rows are stored.
        execution: Workers and block size.
        advance: Called with the number of rows just finished.
        **predicting: `predict` and `schema` of `chain.extract_blocks`.
    """
    workers = ensure_ray(execution)
    from fer_ray.execution.chain import extract_blocks

    root, total = plan.listing.root.resolve(), plan.listing.table.num_rows
    staged.folder.mkdir(parents=True, exist_ok=True)
    require_shared(staged.folder, root)
    blocks = _blocks(plan.listing.table, staged, execution, workers)
    left = int(sum(block.num_rows for block in blocks))
    if left < total:
        logger.info("resuming: %d of %d images are done", total - left, total)
    advance(total - left)
    if blocks:
        for rows in extract_blocks(
            blocks, root, plan.settings, staged, execution.workers, **predicting
        ):
            advance(rows)
    return left


def _blocks(
    table: pa.Table, staged: StagedRows, execution: Execution, workers: int
) -> list[pa.Table]:
    from fer_ray.execution.chain import block_size, split_blocks

    if execution.block_images:
        return split_blocks(table, staged, execution.block_images)
    size = block_size(table.num_rows, workers, blocks_per_worker=4)  # the last ones are smaller
    return split_blocks(table, staged, size, workers)


def build_record(plan: ExtractionPlan, frames: Path, seconds: float, count: int) -> dict[str, Any]:
    """The record of a finished table `frames`, of which this job extracted `count` images."""
    columns = ["status", "cascade", "mode", "width", "height"]
    rows = read_table(frames, columns=columns).to_pandas()
    if len(rows) != plan.listing.table.num_rows:
        raise RuntimeError(f"{len(rows)} rows for {plan.listing.table.num_rows} listed images")
    statuses, cascades = Counter(rows["status"]), Counter(rows["cascade"].dropna())
    decoded = rows[~rows["status"].isin([Status.UNREADABLE, Status.TOO_LARGE])]
    sizes = Counter(f"{w:.0f}×{h:.0f}" for w, h in zip(decoded.width, decoded.height, strict=True))
    return {
        "schema_version": SCHEMA_VERSION,
        "fer_ray_version": __version__,
        "fingerprint": plan.fingerprint,
        "source_digest": plan.source_digest,
        "settings": plan.settings.model_dump(mode="json"),
        "data": {
            **plan.listing.summary,
            "sizes": dict(sizes.most_common(10)),
            "modes": dict(Counter(decoded["mode"]).most_common()),
        },
        "counts": {status.value: statuses[status] for status in Status if statuses[status]},
        "cascades": {name: cascades[name] for name in CASCADES},
        "timings": {
            "list_seconds": round(plan.list_seconds, 3),
            "extract_seconds": round(seconds, 3),
            "images_done": count,
            "images_per_second": round(count / seconds, 2) if seconds else None,
        },
    }
