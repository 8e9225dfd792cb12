"""Results that no image of the store has any more."""

from datetime import UTC, datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.compute as pc

from fer_ray.pipelines.sweeps.commits import insist
from fer_ray.pipelines.sweeps.publish import take_images
from fer_ray.storage.ledger.scratch import Scratch
from fer_ray.storage.snapshot import Snapshot

if TYPE_CHECKING:
    from fer_ray.pipelines.sweeps.context import Sweep

MOST_REMOVED = 1 << 19  # contents at once; each commit reads the keys of all results
READERS = timedelta(hours=1)  # for which results stay that an image had: a reader may be at it
KEY = ["sha256", "recipe"]


def remove_orphans(sweep: "Sweep", finished: list[str]) -> None:
    """Remove results that no image has any more, but those that a reader may still look for.

    Args:
        sweep: This sweep, which has published.
        finished: Sweeps that came to their end. What they left counts, as what sweeps older than
            the retention left; another one may be about to publish the rest.
    """
    store, record, scratch = sweep.store, sweep.record, sweep.ledger.scratch
    images = store.snapshot("images")
    take_images(sweep, images)
    _note_in_use(sweep, images)
    _find(scratch, store.snapshot("results"), sweep.oldest_kept, finished)
    record.orphans_kept = _keep_in_use(scratch)
    for keys in scratch.blocks("SELECT * FROM orphans", MOST_REMOVED):
        if store.snapshot("images").version == sweep.ledger.images_version:
            insist(partial(_remove, sweep, keys), store.uri)
            record.orphans += keys.num_rows
        else:  # another sweep has published since, images with some of these contents perhaps
            record.orphans_kept += keys.num_rows


def _note_in_use(sweep: "Sweep", images: Snapshot) -> None:
    """Keep in mind the contents of images that the store had a while ago."""
    scratch, seen = sweep.ledger.scratch, images.files()
    scratch.run("CREATE TABLE in_use (sha256 VARCHAR, recipe VARCHAR)")
    for version in sweep.store.versions("images", datetime.now(UTC) - READERS):
        before = sweep.store.snapshot("images", version)
        for batch in before.batches(KEY, but=seen):
            scratch.insert("in_use", pa.table(batch))
        seen |= before.files()


def _find(scratch: Scratch, results: Snapshot, before: str, finished: list[str]) -> None:
    """Find the results of settled sweeps that no image has."""
    scratch.run("CREATE TEMP TABLE keys (sha256 VARCHAR, recipe VARCHAR)")
    done = pa.array(finished, pa.string())
    for batch in results.batches([*KEY, "sweep"]):
        settled = pc.or_(pc.less(batch["sweep"], before), pc.is_in(batch["sweep"], done))
        scratch.insert("keys", pa.table(batch.filter(settled)))
    query = "SELECT DISTINCT sha256, recipe FROM keys ANTI JOIN images USING (sha256, recipe)"
    scratch.run(f"CREATE TABLE orphans AS {query}")


def _keep_in_use(scratch: Scratch) -> int:
    """Leave those out that are in use; how many."""
    count = "SELECT count(*) FROM orphans"
    found = scratch.one(count)
    scratch.run("DELETE FROM orphans o USING in_use u "
                "WHERE o.sha256 = u.sha256 AND o.recipe = u.recipe")  # fmt: skip
    return int(found - scratch.one(count))


def _remove(sweep: "Sweep", keys: pa.Table) -> None:
    sweep.store.remove(sweep.store.snapshot("results"), keys, sweep.meta)
