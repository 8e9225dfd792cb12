"""Bottleneck features on Ray Data: image → crop → backbone → Parquet.

The backbone lives in actors, which load it once. On CPUs an actor performs all steps of a block, so
there is a single pool and nothing can deadlock, even on one CPU. On GPUs, separate tasks crop the
images, so that the network need not wait for them.
"""

import logging
from collections.abc import Iterator
from functools import cached_property, partial

import cv2
import numpy as np
import pyarrow as pa
import ray
from numpy.typing import NDArray
from ray.data import ActorPoolStrategy, DataContext, Dataset

from fer_ray.errors import UserError
from fer_ray.execution.cluster.node_versions import require_same_versions_on_nodes
from fer_ray.execution.cluster.resources import WAIT_S, cpu_share
from fer_ray.execution.cluster.shared_storage import require_reachable, require_same, require_shared
from fer_ray.execution.tasks.task_results import count_written, task_result
from fer_ray.features.steps import pixels
from fer_ray.networks.bottleneck.bottleneck_plan import BottleneckPlan
from fer_ray.networks.bottleneck.bottleneck_rows import compute_rows, load_backbone
from fer_ray.networks.bottleneck.crop_cache import CropSource
from fer_ray.networks.library_messages import filter_stderr
from fer_ray.networks.network import Backbone
from fer_ray.storage.staging import POSITION, StagedRows

DATA_SETTINGS = {
    "enable_progress_bars": False,  # fer_ray shows its own
    "print_on_execution_start": False,
    "execution_no_progress_timeout_s": WAIT_S,
}
PIXELS = "pixels"  # column: (size × size) bytes of a crop
# Ray warns about each pool that restarting its actors requires their arguments. Ray Data does keep
# them (ray#57733).
RESTART_WARNING = (
    r"core_worker\.cc:\d+: Actor with class name: 'MapWorker\(MapBatches\(_NetworkWorker\)\)'"
)


class _NetworkWorker:
    """A backbone in an actor: computes and stores the rows of a block."""

    def __init__(
        self, plan: BottleneckPlan, source: CropSource, staged: StagedRows, driver: str, gpus: float
    ) -> None:
        cv2.setNumThreads(1)  # an actor has one CPU; OpenCV would use all of them
        self._plan, self._source, self._staged = plan, source, staged
        self._driver, self._gpus = driver, gpus

    @cached_property
    def _network(self) -> Backbone:
        """The backbone, loaded for the first block: Ray hides errors that a constructor raises."""
        return load_backbone(self._plan, None if self._gpus else 1, self._gpus)

    def __call__(self, table: pa.Table) -> pa.Table:
        try:
            rows = self._rows(table)
            self._staged.write_at(rows, table[POSITION].to_numpy())
            return task_result(rows.num_rows)
        except UserError as problem:
            return task_result(0, problem)

    def _rows(self, table: pa.Table) -> pa.Table:
        if PIXELS in table.column_names:
            crops = pixels(table[PIXELS], self._plan.crop_px)
        else:
            crops = load_crops(table, self._source, self._staged, self._driver)
        return compute_rows(table, crops, self._plan, self._network)


def bottleneck_blocks(
    blocks: list[pa.Table],
    source: CropSource,
    plan: BottleneckPlan,
    staged: StagedRows,
    workers: int,
    most: int | None,
    gpus_per_worker: float,
) -> Iterator[int]:
    """Compute the features of listed rows block by block, and store them in `staged`.

    Args:
        blocks: Rows of `bottleneck_plan.usable_rows` with their `POSITION`; a block is one file.
        source: Their crops; its folders have the same path on every node.
        plan: What to compute.
        staged: Where finished rows are stored.
        workers: Initial number of actors, at most one per block.
        most: Maximum number of actors. None: one per block, as the cluster grows.
        gpus_per_worker: GPUs of an actor. 0: CPUs.

    Yields:
        Numbers of rows as they are stored.

    Raises:
        UserError: An image or the weights have changed, storage is not shared by all nodes, or a
            node has other versions.
    """
    require_same_versions_on_nodes()
    data, rows = _dataset(blocks), max(block.num_rows for block in blocks)
    driver = ray.get_runtime_context().get_node_id()
    if gpus_per_worker:
        crop = partial(crop_ahead, source=source, staged=staged, driver=driver)
        data = data.map_batches(crop, batch_format="pyarrow", batch_size=rows)
    initial = min(workers, len(blocks))
    most = max(initial, min(most or len(blocks), len(blocks)))
    results = data.map_batches(
        _NetworkWorker,
        batch_format="pyarrow",
        batch_size=rows,
        fn_constructor_args=(plan, source, staged, driver, gpus_per_worker),
        compute=ActorPoolStrategy(min_size=1, max_size=most, initial_size=initial),
        num_cpus=0 if gpus_per_worker else cpu_share(),
        num_gpus=gpus_per_worker,
    )
    try:
        with filter_stderr(RESTART_WARNING, progress_bars=True):
            yield from count_written(results)
    except ray.exceptions.RayError:
        require_shared(staged.folder, source.root)  # Ray hides which of its errors this was
        raise


def _dataset(blocks: list[pa.Table]) -> Dataset:
    """Blocks as a dataset with settings of its own: those of the calling program stay."""
    logging.getLogger("ray.data").setLevel(logging.CRITICAL)  # fer_ray reports what is raised
    context = DataContext.get_current().copy()
    for name, value in DATA_SETTINGS.items():
        setattr(context, name, value)
    with DataContext.current(context):
        return ray.data.from_blocks(blocks)


def crop_ahead(table: pa.Table, source: CropSource, staged: StagedRows, driver: str) -> pa.Table:
    """Add crops to rows. If that fails, none are added, and the actor reports the error."""
    cv2.setNumThreads(1)
    try:
        crops = load_crops(table, source, staged, driver)
    except UserError:
        return table
    column = pa.array([crop.tobytes() for crop in crops], pa.large_binary())
    return table.append_column(PIXELS, column)


def load_crops(
    table: pa.Table, source: CropSource, staged: StagedRows, driver: str
) -> NDArray[np.uint8]:
    """The crops (n, size, size) uint8 of rows, on a node with access to images and run folder.

    Raises:
        UserError: The node has no access, or an image has changed.
    """
    require_reachable(source.root, staged.folder.parent)
    try:
        return source.crops(table)
    except UserError:
        require_same(source.root, table["path"].to_pylist(), driver)
        raise
