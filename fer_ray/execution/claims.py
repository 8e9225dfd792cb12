"""Which contents are new: asked while an image is at hand, so that it need not be read twice.

Contents are told apart by the first 64 bits of their hash. Where two share these, or a claim is
lost with the process that made it, a content counts as known, and is described in a later round.
"""

from typing import Protocol

import numpy as np
from numpy.typing import NDArray

MOST_KNOWN = 20_000_000  # contents of a store, 160 MB
MOST_CLAIMED = 5_000_000  # new contents of a sweep, 1 GB; further ones are read twice


class Claim(Protocol):
    """Asks for a content on behalf of a block; whether it is the block's to describe."""

    def __call__(self, owner: str, content: str) -> bool:
        """See `Claims.claim`."""


class Claims:
    """Gives each new content to the first block that asks.

    Args:
        known: Sorted keys of the contents that have results; None: too many to be held.
    """

    def __init__(self, known: NDArray[np.uint64] | None) -> None:
        self._known = known
        self._owners: dict[int, str] = {}

    def claim(self, owner: str, content: str) -> bool:
        """Whether a content is new and the owner's, who may ask again after a loss.

        Args:
            owner: Name of a block.
            content: SHA-256 in hex.
        """
        if self._known is None:
            return False
        key = int(content[:16], 16)
        place = int(np.searchsorted(self._known, np.uint64(key)))
        if place < len(self._known) and int(self._known[place]) == key:
            return False
        if key not in self._owners and len(self._owners) >= MOST_CLAIMED:
            return False
        return self._owners.setdefault(key, owner) == owner
