"""Removal of results that no image of the store uses."""

from datetime import UTC, datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.compute as pc

from fer_ray.pipelines.sweeps.commits import retry_commit
from fer_ray.pipelines.sweeps.publish import refresh_images
from fer_ray.storage.ledger.scratch import Scratch
from fer_ray.storage.snapshot import Snapshot

if TYPE_CHECKING:
    from fer_ray.pipelines.sweeps.context import SweepContext

MAX_REMOVED = 1 << 19  # contents per commit; each commit reads the keys of all results
READER_GRACE = timedelta(hours=1)  # how long results stay for readers of an earlier version
KEY = ["sha256", "recipe"]


def remove_orphans(sweep: "SweepContext", finished: list[str]) -> None:
    """Remove results that no image uses, except those that a reader may still need.

    Only results of finished sweeps and of sweeps older than the retention are removed, since any
    other sweep may be about to publish the images of its results.

    Args:
        sweep: This sweep, which has published its images.
        finished: Names of finished sweeps.
    """
    store, record, scratch = sweep.store, sweep.record, sweep.ledger.scratch
    images = store.snapshot("images")
    refresh_images(sweep, images)
    _load_recently_used(sweep, images)
    _find_orphans(scratch, store.snapshot("results"), sweep.retention_start, finished)
    record.results_waiting = _exclude_recently_used(scratch)
    for keys in scratch.blocks("SELECT * FROM orphans", MAX_REMOVED):
        if store.snapshot("images").version == sweep.ledger.images_version:
            retry_commit(partial(_delete, sweep, keys), store.uri)
            record.results_removed += keys.num_rows
        else:  # another sweep has published since, perhaps images with these contents
            record.results_waiting += keys.num_rows


def _load_recently_used(sweep: "SweepContext", images: Snapshot) -> None:
    """Load the contents of images in recent versions of the store into the table `in_use`."""
    scratch, loaded = sweep.ledger.scratch, images.files()
    scratch.run("CREATE TABLE in_use (sha256 VARCHAR, recipe VARCHAR)")
    for version in sweep.store.versions("images", datetime.now(UTC) - READER_GRACE):
        earlier = sweep.store.snapshot("images", version)
        for batch in earlier.batches(KEY, excluding=loaded):
            scratch.insert("in_use", pa.table(batch))
        loaded |= earlier.files()


def _find_orphans(scratch: Scratch, results: Snapshot, before: str, finished: list[str]) -> None:
    """Write the keys of unused results of settled sweeps into the table `orphans`."""
    scratch.run("CREATE TEMP TABLE keys (sha256 VARCHAR, recipe VARCHAR)")
    finished_sweeps = pa.array(finished, pa.string())
    for batch in results.batches([*KEY, "sweep"]):
        settled = pc.or_(pc.less(batch["sweep"], before), pc.is_in(batch["sweep"], finished_sweeps))
        scratch.insert("keys", pa.table(batch.filter(settled)))
    query = "SELECT DISTINCT sha256, recipe FROM keys ANTI JOIN images USING (sha256, recipe)"
    scratch.run(f"CREATE TABLE orphans AS {query}")


def _exclude_recently_used(scratch: Scratch) -> int:
    """Delete the keys that are in use from `orphans`; return their number."""
    count = "SELECT count(*) FROM orphans"
    before = scratch.scalar(count)
    scratch.run("DELETE FROM orphans o USING in_use u "
                "WHERE o.sha256 = u.sha256 AND o.recipe = u.recipe")  # fmt: skip
    return int(before - scratch.scalar(count))


def _delete(sweep: "SweepContext", keys: pa.Table) -> None:
    sweep.store.delete_results(sweep.store.snapshot("results"), keys, sweep.commit_metadata)
