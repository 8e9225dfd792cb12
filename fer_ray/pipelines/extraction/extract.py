"""`fer-ray extract`: extract the images that are left, and write the frames and their record."""

import logging
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from fer_ray import __version__
from fer_ray.execution.chain import (
    extract_in_process,
    extract_meanwhile,
    extract_on_ray,
    runs_in_process,
)
from fer_ray.execution.cluster.session import ensure_ray, starts_locally
from fer_ray.execution.cluster.shared_storage import require_shared
from fer_ray.execution.extract_block import ExtractBlock, extraction_schema
from fer_ray.execution.guard import stop_ahead
from fer_ray.execution.signals import handle_sigterm, terminate
from fer_ray.execution.tasks.block_sizes import LEAST_BLOCK_IMAGES, block_size, split_blocks
from fer_ray.execution.tasks.merging import merge_on_ray
from fer_ray.faces.model_paths import describe_models, model_hashes
from fer_ray.features.image_steps import ImageSteps
from fer_ray.pipelines.extraction.extraction_plan import ExtractionPlan
from fer_ray.pipelines.extraction.face_advice import advise_on_faces, count_small_squares
from fer_ray.pipelines.extraction.negative_advice import advise_on_negatives
from fer_ray.pipelines.extraction.range_advice import advise_on_ranges
from fer_ray.pipelines.extraction.reuse_rows import reuse_rows
from fer_ray.settings.extraction import ExtractSettings, Selection
from fer_ray.settings.root import Execution
from fer_ray.sources import label_conflicts
from fer_ray.sources.quality import Quality
from fer_ray.storage.files import remove, write_json
from fer_ray.storage.parquet import count_values, read_table, write_table
from fer_ray.storage.run_folder import RunFolder
from fer_ray.storage.staging import StagedRows, remove_superseded
from fer_ray.vocabulary import SCHEMA_VERSION, Status

logger = logging.getLogger(__name__)
Advance = Callable[[int], None]
MEANWHILE_IMAGES = 2_000  # more than one process can extract while Ray starts
# The columns that a record summarises.
RECORD_COLUMNS = ["status", "detector", "mode", "width", "height", *label_conflicts.COLUMNS]


def extract(
    plan: ExtractionPlan, out: Path, execution: Execution, advance: Advance
) -> dict[str, Any]:
    """Extract the images that are left, and write `frames` and its record.

    Args:
        plan: From `plan_extraction`. A finished one is returned unchanged.
        out: Run folder, locked by the caller.
        execution: Workers and block size.
        advance: Called with the number of images just finished.

    Returns:
        The record, as in `extract.json`.
    """
    if plan.finished is not None:
        return plan.finished
    run, schema, started = RunFolder(out), extraction_schema(plan.settings), time.monotonic()
    staged = StagedRows(run.frames_partial / plan.staging_key)
    if plan.reuses_rows:
        reuse_rows(plan.listing, run, staged, schema)
        remove(run.extract_record)
        _set_features_aside(run)
    elif not staged.spans():  # not the rest of an interrupted extraction
        remove(run.bottleneck_previous)
    for path in (run.extract_record, *run.derived_from_frames()):
        remove(path)
    count = extract_missing(plan, extraction_task(plan, staged), execution, advance)
    seconds = time.monotonic() - started
    files = staged.assemble(run.frames, schema, run=merge_on_ray)
    remove_superseded(run.frames, files)
    write_table(plan.listing.files(), run.frames_files)
    images = read_table(run.frames, columns=RECORD_COLUMNS)
    record = {**build_record(plan, images, seconds, count), "files": files}
    write_json(record, run.extract_record)
    staged.remove()
    logger.info("extracted %d images in %.1f s", count, seconds)
    return record


def _set_features_aside(run: RunFolder) -> None:
    if run.bottleneck.is_dir():
        from fer_ray.pipelines.extraction.reuse_features import set_features_aside

        set_features_aside(run)


def extraction_task(plan: ExtractionPlan, staged: StagedRows) -> ExtractBlock:
    """The task that extracts a block of the plan's images and stores the rows in `staged`."""
    root, schema = plan.listing.root.absolute(), extraction_schema(plan.settings)
    return ExtractBlock(ImageSteps(step_settings(plan)), root, staged, schema)


def step_settings(plan: ExtractionPlan) -> ExtractSettings:
    """The settings of the steps of an image, without the selection of images.

    Extractions of different images then share child processes.
    """
    return plan.settings.model_copy(update={"selection": Selection()})


def extract_missing(
    plan: ExtractionPlan,
    task: ExtractBlock,
    execution: Execution,
    advance: Advance,
    sources: tuple[Path, ...] = (),
) -> int:
    """Extract the images that have no rows yet, and return their number.

    Args:
        plan: What to extract.
        task: Extracts a block of images, and stores the rows.
        execution: Executor, workers and block size.
        advance: Called with the number of images just finished.
        sources: Further folders that all nodes must have access to.
    """
    root, staged, table = task.root, task.staged, plan.listing.with_sizes()
    left = len(staged.missing_positions(table.num_rows))
    if left < table.num_rows:
        logger.info("resuming: %d of %d images are done", table.num_rows - left, table.num_rows)
    advance(table.num_rows - left)
    if not left:
        return 0
    if runs_in_process(execution, left):
        blocks = split_blocks(table, staged, execution.block_images or LEAST_BLOCK_IMAGES)
        staged.folder.mkdir(parents=True, exist_ok=True)
        with handle_sigterm(terminate):
            for images in extract_in_process(blocks, task, execution):
                advance(images)
        return left
    first = list[pa.Table]()
    if starts_locally():
        size = execution.block_images or LEAST_BLOCK_IMAGES
        first = split_blocks(table, staged, size, most=MEANWHILE_IMAGES)
    with extract_meanwhile(first, task, execution) as counts:
        workers = ensure_ray(execution)
    statuses = sum(counts, Counter[str]())
    stop_ahead()  # workers of Ray start their own child processes
    staged.folder.mkdir(parents=True, exist_ok=True)
    require_shared(staged.folder, root, *sources)
    from fer_ray.execution.cluster.prometheus import count_extracted, extraction_remaining

    count_extracted(statuses)
    advance(statuses.total())
    blocks = _blocks(table, staged, execution, workers)
    with extraction_remaining(left - statuses.total()) as remaining:
        for images in extract_on_ray(blocks, task, execution):
            advance(images)
            remaining.subtract(images)
    staged.require_all(table.num_rows)
    return left


def _blocks(
    table: pa.Table, staged: StagedRows, execution: Execution, workers: int
) -> list[pa.Table]:
    if execution.block_images:
        return split_blocks(table, staged, execution.block_images)
    size = block_size(table.num_rows, workers, blocks_per_worker=4)  # the last ones are smaller
    return split_blocks(table, staged, size, workers)


def build_record(
    plan: ExtractionPlan, images: pa.Table, seconds: float, count: int, has_bundle: bool = False
) -> dict[str, Any]:
    """Build the record of a finished table.

    Args:
        plan: What was extracted.
        images: One row per image, with `RECORD_COLUMNS`.
        seconds: Duration of the extraction.
        count: Number of images that this job extracted.
        has_bundle: Whether a bundle prescribes the settings.
    """
    if images.num_rows != plan.listing.table.num_rows:
        raise RuntimeError(f"{images.num_rows} images, {plan.listing.table.num_rows} were listed")
    statuses, detectors = count_values(images["status"]), count_values(images["detector"])
    rejected = pa.array([Status.UNREADABLE.value, Status.TOO_LARGE.value])
    decoded = images.filter(pc.invert(pc.is_in(images["status"], rejected)))
    sides = (decoded[side].cast(pa.string()) for side in ("width", "height"))
    sizes = count_values(pc.binary_join_element_wise(*sides, "×"))
    modes, quality = count_values(decoded["mode"]), Quality()
    label_conflicts.note_conflicts(images.to_batches, quality)
    return {
        "schema_version": SCHEMA_VERSION,
        "fer_ray_version": __version__,
        "fingerprint": plan.fingerprint,
        "source_digest": plan.source_digest,
        "settings": plan.settings.model_dump(mode="json"),
        "data": {
            **plan.listing.summary,
            "quality": [*plan.listing.summary["quality"], *quality.records()],
            "sizes": dict(sizes.most_common(10)),
            "modes": dict(modes.most_common()),
        },
        "counts": {status.value: statuses[status] for status in Status if statuses[status]},
        "detectors": dict(detectors.most_common()),
        "models": describe_models(model_hashes(plan.settings)),
        "advice": [
            *advise_on_faces(statuses, count_small_squares(images), plan.settings, has_bundle),
            *advise_on_ranges(modes, plan.settings.decode),
            *advise_on_negatives(images, plan.listing.root, plan.settings),
        ],
        "timings": {
            "list_seconds": round(plan.list_seconds, 3),
            "extract_seconds": round(seconds, 3),
            "images_done": count,
            "images_per_second": round(count / seconds, 2) if seconds else None,
        },
    }
