"""Extraction as a job: what is done already, what is left, and the record of it."""

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
from fer_ray.faces.landmarks import LandmarkLocator, import_dlib, model_file, model_sha256
from fer_ray.settings.extraction import ExtractSettings, extract_fingerprint
from fer_ray.settings.root import Execution
from fer_ray.sources.digest import file_stats, table_digest
from fer_ray.sources.listing import Listing, list_source, refuse_among_images
from fer_ray.storage.files import remove, write_json
from fer_ray.storage.parquet import read_table
from fer_ray.storage.run_folder import RunFolder, extraction_record, finished_extraction
from fer_ray.storage.staging import StagedRows
from fer_ray.vocabulary import CASCADES, SCHEMA_VERSION, Status

logger = logging.getLogger(__name__)
Advance = Callable[[int], None]


@dataclass(frozen=True)
class Plan:
    """What an extraction has to do.

    Attributes:
        listing: The selected images.
        fingerprint: Of the settings and the landmark model.
        source_digest: Of the listing and its files' sizes and times.
        finished: The record of a finished extraction of the very same, or None.
        list_seconds: What looking took.
    """

    listing: Listing
    settings: ExtractSettings
    fingerprint: str
    source_digest: str
    finished: dict[str, Any] | None
    list_seconds: float


def plan(data: Path, out: Path, settings: ExtractSettings, fresh: bool) -> Plan:
    """Look at the source and at what `out` already holds.

    Raises:
        UserError: The source or a model is missing.
        MismatchError: `out` holds frames made from other settings or files, and `fresh` is not set.
    """
    cascade_file(settings.crop.cascades[0])
    import_dlib()
    model = model_sha256(model_file(settings.landmarks.model))
    if settings.landmarks.model is not None:  # a file of the user's may be anything
        LandmarkLocator(settings.landmarks)
    started = time.monotonic()
    listing = list_source(data, settings.selection)
    refuse_among_images(out, listing.root, listing.summary["layout"])
    stats = file_stats(listing.root, listing.table["path"].to_pylist())
    made = Plan(
        listing,
        settings,
        extract_fingerprint(settings, model),
        table_digest(listing.table, stats),
        extraction_record(out),
        time.monotonic() - started,
    )
    if made.finished is None:
        return made
    changed = differences(made, made.finished)
    if not changed and not fresh:
        return made if finished_extraction(out) else replace(made, finished=None)
    if changed and not fresh:
        raise MismatchError(
            f"{out} holds frames of another run: {'; '.join(changed)}.\n"
            "Give another --out to keep them, or --fresh to replace them."
        )
    return replace(made, finished=None)


def differences(made: Plan, record: dict[str, Any]) -> list[str]:
    """In words, what sets a finished extraction apart from the one asked for."""
    found = []
    if record.get("fingerprint") != made.fingerprint:
        old, new = _flat(record.get("settings", {})), _flat(made.settings.model_dump(mode="json"))
        changed = [name for name in {**old, **new} if old.get(name) != new.get(name)]
        found += [f"extract.{name} was {old.get(name)}, is {new.get(name)}" for name in changed]
        if not changed:
            found.append("the landmark model or the table's schema is another")
    another_selection = any(one.startswith("extract.selection.") for one in found)
    if record.get("source_digest") != made.source_digest and not another_selection:
        old_count = record.get("data", {}).get("selected")
        found.append(
            f"the source has changed since ({old_count} images then, "
            f"{made.listing.table.num_rows} now; names, labels, sizes or times differ)"
        )
    return found


def _flat(tree: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for name, value in tree.items():
        flat |= (
            _flat(value, f"{prefix}{name}.") if isinstance(value, dict) else {prefix + name: value}
        )
    return flat


def extract(plan: Plan, out: Path, execution: Execution, advance: Advance) -> dict[str, Any]:
    """Extract what is left to do, and write `frames` and its record.

    Args:
        plan: From `plan`; one that is finished is returned as it is.
        out: Run folder, held by the caller (`holding.run_folder`).
        execution: Workers and block size.
        advance: Told the number of rows each time that more are done.

    Returns:
        The record, as `extract.json` holds it.
    """
    if plan.finished is not None:
        return plan.finished
    _clear(out)
    key = f"{plan.fingerprint[:16]}-{plan.source_digest[:16]}"
    staged = StagedRows(RunFolder(out.resolve()).frames_partial / key)
    started = time.monotonic()
    fresh_rows = run_blocks(plan, staged, execution, advance)
    seconds = time.monotonic() - started
    staged.assemble(RunFolder(out).frames, _schema(plan.settings))
    record = record_of(plan, RunFolder(out).frames, seconds, fresh_rows)
    write_json(record, RunFolder(out).extract_record)
    staged.remove()
    logger.info("extracted %d images in %.1f s", fresh_rows, seconds)
    return record


def _clear(out: Path) -> None:
    run = RunFolder(out)
    for path in (run.extract_record, *run.derived_from_frames()):
        remove(path)


def _schema(settings: ExtractSettings) -> pa.Schema:
    from fer_ray.execution.chain import schema

    return schema(settings)


def run_blocks(
    plan: Plan,
    staged: StagedRows,
    execution: Execution,
    advance: Advance,
    **answering: Any,
) -> int:
    """Extract the rows that `staged` lacks; the number of them.

    Args:
        plan: What to extract.
        staged: Where rows are kept.
        execution: Workers and block size.
        advance: Told the number of rows each time that more are done.
        **answering: `answer` and `kept` of `pipeline.extract_blocks`.
    """
    workers = ensure_ray(execution)
    from fer_ray.execution.chain import block_size, extract_blocks, split_blocks

    root = plan.listing.root.resolve()
    staged.folder.mkdir(parents=True, exist_ok=True)
    require_shared(staged.folder, root)
    table = plan.listing.table
    if execution.block_images:
        blocks = split_blocks(table, staged, execution.block_images)
    else:
        size = block_size(table.num_rows, workers, each=4)  # those at the end are smaller
        blocks = split_blocks(table, staged, size, workers)
    todo = int(sum(block.num_rows for block in blocks))
    if todo < table.num_rows:
        logger.info("%d of %d images were done before", table.num_rows - todo, table.num_rows)
    advance(table.num_rows - todo)
    if blocks:
        for rows in extract_blocks(
            blocks, root, plan.settings, staged, execution.workers, **answering
        ):
            advance(rows)
    return todo


def record_of(plan: Plan, frames: Path, seconds: float, fresh_rows: int) -> dict[str, Any]:
    """How the rows in `frames` were made, and what became of the images."""
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
            "images_done": fresh_rows,
            "images_per_second": round(fresh_rows / seconds, 2) if seconds else None,
        },
    }
