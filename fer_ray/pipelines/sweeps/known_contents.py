"""Contents that already have results, and claims of new contents."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from pyarrow import dataset

from fer_ray.execution.tasks.claims import Claim, Claims, content_keys, start_claims
from fer_ray.pipelines.sweeps.context import SweepContext
from fer_ray.storage.planning.partitions import HASH_BITS
from fer_ray.storage.planning.sorted_files import HASH
from fer_ray.storage.table_folder import TableFolder


@contextmanager
def claims(sweep: SweepContext, images: int, others: NDArray[np.uint64]) -> Iterator[Claim]:
    """Yield the function that claims new contents for a block; on Ray, actors serve the claims.

    Args:
        sweep: The sweep.
        images: Number of images to process.
        others: Keys of contents that are known besides those of the store.
    """
    load = known_contents(sweep, others)
    if sweep.runner.in_process:
        yield Claims(load(0, 1)).claim
        return
    actors = start_claims(load, sweep.files.results.rows + images)
    try:
        yield actors
    finally:
        actors.stop()


def known_contents(sweep: SweepContext, others: NDArray[np.uint64]) -> "KnownContents":
    """The known contents of a sweep: those of the store, and others."""
    files, recipe = sweep.files.results.files, sweep.recipe.fingerprint
    return KnownContents(sweep.scratch, files, recipe, others)


@dataclass(frozen=True)
class KnownContents:
    """Loads the keys of contents that have results, as `LoadKnown`.

    Attributes:
        scratch: Scratch folder.
        results: Scratch files of the keys of results, by content.
        recipe: Fingerprint of the store recipe.
        others: Keys of contents whose results are not in these files.
    """

    scratch: TableFolder
    results: list[str]
    recipe: str
    others: NDArray[np.uint64]

    def __call__(self, index: int, count: int) -> NDArray[np.uint64]:
        """Load the sorted keys of part `index` of `count`."""
        start, stop = ((part << HASH_BITS) // count for part in (index, index + 1))
        found, recipe = dataset.field(HASH), dataset.field("recipe")
        rows = (recipe == self.recipe) & (found >= start) & (found < stop)
        keys = [
            content_keys(batch["sha256"].to_pylist())
            for batch in self.scratch.batches(self.results, ["sha256"], rows)
        ]
        return np.unique(np.concatenate([self.others, *keys]))
