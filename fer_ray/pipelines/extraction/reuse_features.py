"""Reuse of bottleneck features of known contents when the frames of a run folder change."""

import logging
from collections.abc import Iterator

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from fer_ray.features.bottleneck_features import read_records
from fer_ray.networks.bottleneck.bottleneck_plan import BottleneckPlan
from fer_ray.networks.bottleneck.bottleneck_rows import feature_rows
from fer_ray.pipelines.extraction.reuse_rows import match_rows
from fer_ray.storage.files import move, read_json, remove
from fer_ray.storage.parquet import read_table, table_files
from fer_ray.storage.run_folder import RunFolder
from fer_ray.storage.staging import StagedRows

KEY = "key"  # column: what identifies the features of a row

logger = logging.getLogger(__name__)


def set_features_aside(run: RunFolder) -> None:
    """Move all tables of bottleneck features to `bottleneck.previous`, before frames change."""
    records = read_records(run.root)
    if records:
        run.bottleneck_previous.mkdir(exist_ok=True)
    for name in records:
        remove(run.previous_record(name))
        remove(run.previous_table(name))
        if run.bottleneck_table(name).is_dir():
            move(run.bottleneck_table(name), run.previous_table(name))
            move(run.bottleneck_record(name), run.previous_record(name))


def reuse_features(run: RunFolder, plan: BottleneckPlan, rows: pa.Table, staged: StagedRows) -> int:
    """Stage the features of images whose content has features in `bottleneck.previous`.

    Augmented draws depend on the image's ID as well, so they are reused only under the same one.

    Args:
        run: Run folder.
        plan: The features to compute.
        rows: From `bottleneck_plan.usable_rows`.
        staged: Where rows are stored by their position in `rows`.

    Returns:
        The number of rows that are reused.
    """
    record = read_json(run.previous_record(plan.table_name))
    if record is None or record.get("features_key") != plan.features_key:
        return 0
    missing = np.isin(np.arange(rows.num_rows), staged.missing_positions(rows.num_rows))
    keys = pc.if_else(pa.array(missing), _keys(rows), pa.scalar(None, pa.string()))
    reused = 0
    for positions, known in match_rows(keys, _known_rows(run, plan), KEY):
        features = known["features"].combine_chunks()
        staged.write_at(feature_rows(rows.take(positions), features, plan), positions)
        reused += len(positions)
    logger.info("%s: reusing the features of %d rows", plan.table_name, reused)
    return reused


def _known_rows(run: RunFolder, plan: BottleneckPlan) -> Iterator[pa.Table]:
    for file in table_files(run.previous_table(plan.table_name)):
        rows = read_table(file, columns=["image_id", "sha256", "draw", "features"])
        yield rows.append_column(KEY, _keys(rows))


def _keys(rows: pa.Table) -> pa.ChunkedArray:
    """The keys of rows: the content and, for augmented draws, the image and the draw's number."""
    draws = pc.binary_join_element_wise(
        rows["sha256"], rows["image_id"], rows["draw"].cast(pa.string()), "/"
    )
    return pc.if_else(rows["draw"].is_null(), rows["sha256"], draws)
