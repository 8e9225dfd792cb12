"""The end of a sweep: its images are published at once, and results that none has are removed."""

import logging
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING

import pyarrow as pa

from fer_ray.contracts import IMAGES_SCHEMA
from fer_ray.sweep.commits import insist
from fer_ray.sweep.store import Snapshot

if TYPE_CHECKING:
    from fer_ray.sweep.state import Sweep

MOST_REMOVED = 1 << 19  # contents at once; each commit reads the keys of all results
READERS = timedelta(hours=1)  # for which results stay that an image had: a reader may be at it

logger = logging.getLogger(__name__)


def publish(sweep: "Sweep") -> dict[str, int]:
    """Commit all changes of `images` at once; the numbers of rows put and deleted."""
    return insist(partial(_publish, sweep), sweep.store.uri)


def _publish(sweep: "Sweep") -> dict[str, int]:
    ledger = sweep.ledger
    base = sweep.store.snapshot("images")
    _take_images(sweep, base)
    _look_at_results_again(sweep)
    counts = ledger.count_changes()
    if counts["put"] or counts["delete"]:
        _commit_images(sweep, base, counts)
        ledger.load_images(sweep.store.snapshot("images"))
    return counts


def _take_images(sweep: "Sweep", images: Snapshot) -> None:
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


def remove_orphans(sweep: "Sweep", finished: list[str]) -> None:
    """Remove results that no image has any more, but those that a reader may still look for.

    Args:
        sweep: This sweep, which has published.
        finished: Sweeps that came to their end.
    """
    since = datetime.now(UTC) - READERS
    images = sweep.store.snapshot("images")
    _take_images(sweep, images)
    seen = images.files()
    for version in sweep.store.versions("images", since):
        before = sweep.store.snapshot("images", version)
        sweep.ledger.in_use(before.batches(["sha256", "recipe"], but=seen))
        seen |= before.files()
    store, record = sweep.store, sweep.record
    results = store.snapshot("results")
    record.orphans_kept = sweep.ledger.find_orphans(results, sweep.oldest_kept, finished)
    for keys in sweep.ledger.orphans(MOST_REMOVED):
        if store.snapshot("images").version == sweep.ledger.images_version:
            insist(partial(_remove, sweep, keys), store.uri)
            record.orphans += keys.num_rows
        else:  # another sweep has published since, images with some of these contents perhaps
            record.orphans_kept += keys.num_rows


def _remove(sweep: "Sweep", keys: pa.Table) -> None:
    sweep.store.remove(sweep.store.snapshot("results"), keys, sweep.meta)
