"""`fer-ray bottleneck`: bottleneck features of the frames of a run folder."""

import logging
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa

from fer_ray.errors import UserError
from fer_ray.execution.chain import runs_in_process
from fer_ray.execution.cluster.resources import gpu_workers
from fer_ray.execution.cluster.session import ensure_ray
from fer_ray.execution.cluster.shared_storage import require_shared
from fer_ray.execution.progress import Progress
from fer_ray.execution.signals import handle_sigterm, terminate
from fer_ray.execution.tasks.block_sizes import rows_per_block, split_blocks
from fer_ray.execution.tasks.merging import merge_on_ray
from fer_ray.faces.opencv_threads import one_opencv_thread
from fer_ray.networks.bottleneck.bottleneck_plan import BottleneckPlan, finished_record
from fer_ray.networks.bottleneck.bottleneck_rows import (
    compute_rows,
    crop_source,
    load_backbone,
    usable_rows,
)
from fer_ray.networks.bottleneck.crop_cache import CropSource
from fer_ray.networks.bottleneck.inference import is_slow_in_bfloat16
from fer_ray.pipelines.extraction.bottleneck_tables import finish_table
from fer_ray.pipelines.extraction.reuse_features import reuse_features
from fer_ray.settings.root import Execution
from fer_ray.storage.environment import available_cpus
from fer_ray.storage.run_folder import RunFolder
from fer_ray.storage.staging import POSITION, StagedRows

MAX_IN_PROCESS = 48  # rows; in this process, a backbone has a single worker

logger = logging.getLogger(__name__)


def run_bottleneck(
    out: Path,
    root: Path,
    plan: BottleneckPlan,
    execution: Execution,
    progress: Progress,
    fresh: bool = False,
) -> dict[str, Any]:
    """Compute the features that `out` does not have yet.

    Features of earlier frames are reused for images with the same content, unless `fresh` is set.

    Args:
        out: Run folder with frames, locked by the caller.
        root: Folder of the images.
        plan: From `bottleneck_plan.plan_bottleneck`.
        execution: Workers, block size, GPUs.
        progress: Displays the progress.
        fresh: Replace other features of the same backbone once the new ones are finished.

    Returns:
        The record, as in `bottleneck/TABLE.json`, with `already_finished` set to True if all
        features already existed.

    Raises:
        UserError: There are no usable images, or images, weights or storage have changed.
        MismatchError: `out` has other features of the backbone, and `fresh` is not set.
    """
    finished = finished_record(out, plan, fresh)
    if finished is not None:
        return {**finished, "already_finished": True}
    rows = usable_rows(RunFolder(out).frames, plan)
    if not rows.num_rows:
        raise UserError(f"{out} has no usable images. Check the counts in extract.json.")
    partial = RunFolder(out).bottleneck_partial / plan.table_name
    staged = StagedRows(partial / plan.key[:16])
    source = crop_source(out, root, plan, rows, execution.crops_gib)
    started = time.monotonic()
    count = 0
    with progress(plan.table_name, "images", rows.num_rows) as advance:
        if not fresh:
            reuse_features(RunFolder(out), plan, rows, staged)
        advance(rows.num_rows - len(staged.missing_positions(rows.num_rows)))
        for written in _compute_missing(rows, source, plan, staged, execution):
            advance(written)
            count += written
    seconds = time.monotonic() - started
    logger.info("%s: %d rows in %.1f s", plan.table_name, count, seconds)
    job = {"rows": rows.num_rows, "rows_done": count, "seconds": round(seconds, 3)}
    return finish_table(out, plan, staged, job, merge_on_ray)


def _compute_missing(
    rows: pa.Table,
    source: CropSource,
    plan: BottleneckPlan,
    staged: StagedRows,
    execution: Execution,
) -> Iterator[int]:
    """Compute rows that are not staged yet; yields numbers of rows as they are stored."""
    left = len(staged.missing_positions(rows.num_rows))
    if not left:
        return
    gpus = execution.gpus_per_worker
    if gpus and plan.spec.file_network is not None and not plan.spec.needs_keras:
        raise UserError(
            f"{plan.name} is an ONNX network, which runs on CPUs. Omit --gpus-per-worker."
        )
    if plan.spec.precision == "bfloat16" and not gpus and is_slow_in_bfloat16():
        logger.warning(
            "the CPUs of this machine have no bfloat16 instructions: %s is slower than %s",
            plan.name, plan.name.removesuffix("_bf16"),
        )  # fmt: skip
    if not gpus and runs_in_process(execution, left, MAX_IN_PROCESS):
        workers = execution.workers or available_cpus()
        staged.folder.mkdir(parents=True, exist_ok=True)
        with handle_sigterm(terminate), one_opencv_thread():
            yield from _compute_in_process(
                _blocks(rows, plan, staged, execution, workers), source, plan, staged
            )
        return
    workers = ensure_ray(execution)
    staged.folder.mkdir(parents=True, exist_ok=True)
    require_shared(staged.folder, source.root)
    from fer_ray.execution.bottleneck_chain import bottleneck_blocks

    if gpus:
        workers = gpu_workers(gpus, execution.workers)
    blocks = _blocks(rows, plan, staged, execution, workers)
    yield from bottleneck_blocks(blocks, source, plan, staged, workers, execution.workers, gpus)


def _blocks(
    rows: pa.Table, plan: BottleneckPlan, staged: StagedRows, execution: Execution, workers: int
) -> list[pa.Table]:
    size = rows_per_block(rows.num_rows, workers, plan.spec.batch_images, execution.block_images)
    return split_blocks(rows, staged, size)


def _compute_in_process(
    blocks: list[pa.Table], source: CropSource, plan: BottleneckPlan, staged: StagedRows
) -> Iterator[int]:
    """Compute blocks without Ray, as one worker does; yields numbers of rows as they are stored."""
    network = None
    for block in blocks:
        crops = source.crops(block)  # a changed image is found before the network loads
        network = network or load_backbone(plan, threads=1, gpu_share=0)
        finished = compute_rows(block, crops, plan, network)
        staged.write_at(finished, block[POSITION].to_numpy())
        yield finished.num_rows
