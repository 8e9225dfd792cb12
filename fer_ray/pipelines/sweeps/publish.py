"""The end of a sweep: its images are published at once."""

import logging
from functools import partial
from typing import TYPE_CHECKING

import pyarrow as pa

from fer_ray.pipelines.sweeps.commits import insist
from fer_ray.schemas import IMAGES_SCHEMA
from fer_ray.storage.snapshot import Snapshot

if TYPE_CHECKING:
    from fer_ray.pipelines.sweeps.context import Sweep

logger = logging.getLogger(__name__)


def publish(sweep: "Sweep") -> dict[str, int]:
    """Commit all changes of `images` at once; the numbers of rows put and deleted."""
    return insist(partial(_publish, sweep), sweep.store.uri)


def _publish(sweep: "Sweep") -> dict[str, int]:
    ledger = sweep.ledger
    base = sweep.store.snapshot("images")
    take_images(sweep, base)
    _look_at_results_again(sweep)
    counts = ledger.count_changes()
    if counts["put"] or counts["delete"]:
        _commit_images(sweep, base, counts)
        ledger.load_images(sweep.store.snapshot("images"))
    return counts


def take_images(sweep: "Sweep", images: Snapshot) -> None:
    """Take up the store's images of that version, unless the ledger has these."""
    if images.version != sweep.ledger.images_version:  # another sweep has published since
        sweep.ledger.load_images(images)


def _look_at_results_again(sweep: "Sweep") -> None:
    """Hold images back whose contents' results another sweep has removed since this one planned.

    They are as they were before, so the next sweep describes them.
    """
    ledger, before = sweep.ledger, sweep.ledger.results_version
    results = sweep.store.snapshot("results")
    made = int(before < 0)  # the table's first version is an empty one
    if results.version in (before, before + made + sweep.record.commits):  # nobody else was here
        return
    ledger.load_results(results)
    if left := ledger.count_to_describe():
        logger.warning("%d contents are left to the next sweep: another one has removed their "
                       "results meanwhile, as no image had them yet", left)  # fmt: skip


def _commit_images(sweep: "Sweep", base: Snapshot, counts: dict[str, int]) -> None:
    changes = sweep.ledger.changes()
    if counts["replaced"] or counts["delete"]:
        sweep.store.merge(base, changes, ("path",), sweep.meta)
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
    sweep.store.append(base, rows, IMAGES_SCHEMA, sweep.meta)
