"""The chain of bottleneck features on Ray Data: image → crop → network → Parquet.

The network lives in actors, loaded once each. On processors an actor does all steps of a block, so
that one pool is all there is and nothing can wait for what it holds, be there one processor or
many. On GPUs the crops are cut by tasks beside it, so that a GPU does not wait for a processor.
"""

from collections.abc import Iterator
from functools import cached_property, partial

import numpy as np
import pyarrow as pa
import ray
from numpy.typing import NDArray
from ray.data import ActorPoolStrategy

from fer_ray.errors import UserError
from fer_ray.execution.chain import POSITION, keep_rows, receipt, rows_kept
from fer_ray.execution.resources import processor_share
from fer_ray.execution.session import require_reachable, require_same, require_shared
from fer_ray.features.steps import pixels
from fer_ray.networks import bottleneck_plan
from fer_ray.networks.bottleneck_plan import Bottleneck
from fer_ray.networks.crop_cache import CropSource
from fer_ray.networks.library_messages import without_notices
from fer_ray.networks.network import Backbone
from fer_ray.storage.staging import StagedRows

PIXELS = "pixels"  # of a crop: (size × size) bytes
# Ray's warning of each pool, that its actors need their arguments again to start anew: Ray Data
# holds on to them (ray#57733).
RESTARTS = (
    r"core_worker\.cc:\d+: Actor with class name: 'MapWorker\(MapBatches\(_NetworkWorker\)\)'"
)
BLOCK_BATCHES = 8  # of the network; a block is then a second or more of work


class _NetworkWorker:
    """A backbone in a worker: from listed rows, with or without their crops, to a receipt."""

    def __init__(
        self, wanted: Bottleneck, source: CropSource, staged: StagedRows, driver: str, gpus: float
    ) -> None:
        self._wanted, self._source, self._staged = wanted, source, staged
        self._driver, self._gpus = driver, gpus

    @cached_property
    def _network(self) -> Backbone:
        """Loaded with the first block: of what fails in a constructor, Ray hides the message."""
        return bottleneck_plan.load_backbone(self._wanted, None if self._gpus else 1, self._gpus)

    def __call__(self, table: pa.Table) -> pa.Table:
        try:
            rows = self._rows(table)
        except UserError as mistake:
            return receipt(0, str(mistake))
        return keep_rows(rows, table[POSITION].to_numpy(), self._staged)

    def _rows(self, table: pa.Table) -> pa.Table:
        if PIXELS in table.column_names:
            crops = pixels(table[PIXELS], self._wanted.crop_px)
        else:
            crops = shared_crops(table, self._source, self._staged, self._driver)
        return bottleneck_plan.rows_of(table, crops, self._wanted, self._network)


def bottleneck_blocks(
    blocks: list[pa.Table],
    source: CropSource,
    wanted: Bottleneck,
    staged: StagedRows,
    workers: int,
    most: int | None,
    gpus_per_worker: float,
) -> Iterator[int]:
    """Compute the features of listed rows, block by block, and keep them in `staged`.

    Args:
        blocks: Rows of `bottleneck.usable_rows` with their position; a block is one file.
        source: Of their crops; folders are the same on every node.
        wanted: What to compute.
        staged: Where finished rows are kept.
        workers: Actors to begin with, at most one for each block.
        most: Actors at most. None: as many as there are blocks, as the cluster grows.
        gpus_per_worker: Of each; 0: processors.

    Yields:
        A number of rows, each time that so many more are kept.

    Raises:
        UserError: An image, the weights or the storage is not as it was.
    """
    data, rows = ray.data.from_blocks(blocks), max(block.num_rows for block in blocks)
    here = ray.get_runtime_context().get_node_id()
    if gpus_per_worker:
        cut = partial(cut_ahead, source=source, staged=staged, driver=here)
        data = data.map_batches(cut, batch_format="pyarrow", batch_size=rows)
    first = min(workers, len(blocks))
    most = max(first, min(most or len(blocks), len(blocks)))
    receipts = data.map_batches(
        _NetworkWorker,
        batch_format="pyarrow",
        batch_size=rows,
        fn_constructor_args=(wanted, source, staged, here, gpus_per_worker),
        compute=ActorPoolStrategy(min_size=1, max_size=most, initial_size=first),
        num_cpus=0 if gpus_per_worker else processor_share(),
        num_gpus=gpus_per_worker,
    )
    try:
        with without_notices(RESTARTS, bars=True):
            yield from rows_kept(receipts)
    except ray.exceptions.RayError:
        require_shared(staged.folder, source.root)  # Ray hides which of its errors this was
        raise


def cut_ahead(table: pa.Table, source: CropSource, staged: StagedRows, driver: str) -> pa.Table:
    """Rows with their crops, or as they are where it fails: the worker meets the same and tells."""
    try:
        crops = shared_crops(table, source, staged, driver)
    except UserError:
        return table
    column = pa.array([crop.tobytes() for crop in crops], pa.large_binary())
    return table.append_column(PIXELS, column)


def shared_crops(
    table: pa.Table, source: CropSource, staged: StagedRows, driver: str
) -> NDArray[np.uint8]:
    """The crops of some rows, on a node that sees the images and the run folder.

    Raises:
        UserError: It does not, or an image is not as it was.
    """
    require_reachable(source.root, staged.folder.parent)
    try:
        return source.crops(table)
    except UserError:
        require_same(source.root, table["path"].to_pylist(), driver)
        raise


def block_rows(rows: int, workers: int, batch_images: int, asked: int | None) -> int:
    """Rows of a block: whole batches of the network, fewer where workers would be left idle."""
    if asked is not None:
        return asked
    batches = -(-rows // (batch_images * 4 * workers))
    return batch_images * min(BLOCK_BATCHES, max(1, batches))
