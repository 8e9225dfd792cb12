"""Publication of a sweep: all changes of `images` in one commit."""

import logging
from functools import partial
from typing import TYPE_CHECKING

import pyarrow as pa

from fer_ray.pipelines.sweeps.commits import retry_commit
from fer_ray.schemas import IMAGES_SCHEMA
from fer_ray.storage.snapshot import Snapshot

if TYPE_CHECKING:
    from fer_ray.pipelines.sweeps.context import SweepContext

logger = logging.getLogger(__name__)


def publish(sweep: "SweepContext") -> dict[str, int]:
    """Commit all changes of `images` in one commit.

    Returns:
        The number of rows written (`put`, `replaced` of them existed) and deleted (`delete`).
    """
    return retry_commit(partial(_publish, sweep), sweep.store.uri)


def _publish(sweep: "SweepContext") -> dict[str, int]:
    ledger = sweep.ledger
    base = sweep.store.snapshot("images")
    refresh_images(sweep, base)
    _hold_back_images(sweep)
    counts = ledger.count_changes()
    if counts["put"] or counts["delete"]:
        _commit_images(sweep, base, counts)
        ledger.load_images(sweep.store.snapshot("images"))
    return counts


def refresh_images(sweep: "SweepContext", images: Snapshot) -> None:
    """Load the store's images again if another sweep has published since."""
    if images.version != sweep.ledger.images_version:
        sweep.ledger.load_images(images)


def _hold_back_images(sweep: "SweepContext") -> None:
    """Hold back images whose results another sweep has removed since this one was planned.

    Their rows stay unchanged, so the next sweep describes them.
    """
    ledger, planned_version = sweep.ledger, sweep.ledger.results_version
    results = sweep.store.snapshot("results")
    created = int(planned_version < 0)  # creating the table is a version as well
    own_version = planned_version + created + sweep.record.result_commits
    if results.version in (planned_version, own_version):  # no other sweep has committed
        return
    ledger.load_results(results)
    if count := ledger.count_to_describe():
        logger.warning(
            "%d contents are left to the next sweep: another sweep has removed their results "
            "because no image used them yet", count,
        )  # fmt: skip


def _commit_images(sweep: "SweepContext", base: Snapshot, counts: dict[str, int]) -> None:
    changes = sweep.ledger.changes()
    if counts["replaced"] or counts["delete"]:
        sweep.store.merge(base, changes, ("path",), sweep.commit_metadata)
        return
    rows = pa.RecordBatchReader.from_batches(
        IMAGES_SCHEMA,
        (
            pa.RecordBatch.from_arrays(
                [batch[field.name].cast(field.type) for field in IMAGES_SCHEMA],
                schema=IMAGES_SCHEMA,
            )
            for batch in changes
        ),
    )
    sweep.store.append(base, rows, IMAGES_SCHEMA, sweep.commit_metadata)
