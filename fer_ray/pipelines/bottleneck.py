"""Bottleneck features of a run folder's frames, computed where they are not there yet."""

import logging
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa

from fer_ray.errors import UserError
from fer_ray.execution.progress import Progress
from fer_ray.execution.resources import gpu_workers
from fer_ray.execution.session import ensure_ray, require_shared
from fer_ray.networks import bottleneck_plan
from fer_ray.networks.bottleneck_plan import Bottleneck
from fer_ray.networks.crop_cache import CropSource
from fer_ray.networks.inference import lacks_bfloat16
from fer_ray.pipelines.bottleneck_tables import finish
from fer_ray.settings.root import Execution
from fer_ray.storage.run_folder import RunFolder
from fer_ray.storage.staging import StagedRows

logger = logging.getLogger(__name__)


def run_bottleneck(
    out: Path,
    root: Path,
    wanted: Bottleneck,
    execution: Execution,
    progress: Progress,
    fresh: bool = False,
) -> dict[str, Any]:
    """Compute the features that `out` does not hold yet.

    Args:
        out: Run folder with frames, held by the caller (`holding.run_folder`).
        root: Where the images lie.
        wanted: From `bottleneck.plan_bottleneck`.
        execution: Workers, block size, GPUs.
        progress: Shows how far it is.
        fresh: Replace features of the same backbone that were made otherwise, once these are
            there.

    Returns:
        The record, as `bottleneck/TABLE.json` holds it; with `already_finished`, true, where
        nothing was left to do.

    Raises:
        UserError: There is nothing to work on, or images, weights or storage are not as they were.
    """
    before = bottleneck_plan.finished_record(out, wanted, fresh)
    if before is not None:
        return {**before, "already_finished": True}
    rows = bottleneck_plan.usable_rows(RunFolder(out).frames, wanted)
    if not rows.num_rows:
        raise UserError(f"No image of {out} is usable: there is nothing to compute features of.")
    place = RunFolder(out.resolve()).bottleneck_partial / wanted.table_name / wanted.key[:16]
    staged = StagedRows(place)
    source = bottleneck_plan.crop_source(out, root.resolve(), wanted, rows, execution.crops_gib)
    started = time.monotonic()
    with progress(wanted.table_name, "images", rows.num_rows) as advance:
        done = 0
        for count in _run(rows, source, wanted, staged, execution):
            advance(count)
            done += count
    seconds = time.monotonic() - started
    logger.info("%s: %d rows in %.1f s", wanted.table_name, done, seconds)
    run = {"rows": rows.num_rows, "rows_done": done, "seconds": round(seconds, 3)}
    return finish(out, wanted, staged, run)


def _run(
    rows: pa.Table,
    source: CropSource,
    wanted: Bottleneck,
    staged: StagedRows,
    execution: Execution,
) -> Iterator[int]:
    staged.folder.mkdir(parents=True, exist_ok=True)
    if not any(staged.missing(rows.num_rows)):
        return
    if wanted.spec.precision == "bfloat16" and not execution.gpus_per_worker and lacks_bfloat16():
        logger.warning(
            "The processors of this machine do not multiply bfloat16: %s is slower here than %s.",
            wanted.name, wanted.name.removesuffix("_bf16"),
        )  # fmt: skip
    workers = ensure_ray(execution)
    require_shared(staged.folder, source.root)
    from fer_ray.execution.bottleneck_chain import block_rows, bottleneck_blocks
    from fer_ray.execution.chain import split_blocks

    gpus = execution.gpus_per_worker
    if gpus:
        workers = gpu_workers(gpus, execution.workers)
    size = block_rows(rows.num_rows, workers, wanted.spec.batch_images, execution.block_images)
    blocks = split_blocks(rows, staged, size)
    yield from bottleneck_blocks(blocks, source, wanted, staged, workers, execution.workers, gpus)
