"""Claims of new contents, so that each image is read only once.

A content is identified by the first 64 bits of its hash. If two contents share these, or if a claim
is lost with its process, the content counts as known and a later round describes it.
"""

from typing import Protocol

import numpy as np
from numpy.typing import NDArray

MOST_KNOWN = 20_000_000  # contents of a store; 160 MB
MOST_CLAIMED = 5_000_000  # new contents of a sweep, 1 GB; further ones are read twice


class Claim(Protocol):
    """A function that claims a content for a block; see `Claims.claim`."""

    def __call__(self, owner: str, content: str) -> bool:
        """Return whether the block is to process the content."""


class Claims:
    """Assigns each new content to the first block that claims it.

    Args:
        known: Sorted keys of the contents that have results. None: too many for memory.
    """

    def __init__(self, known: NDArray[np.uint64] | None) -> None:
        self._known = known
        self._owners: dict[int, str] = {}

    def claim(self, owner: str, content: str) -> bool:
        """Claim a content; return whether it is new and belongs to this owner.

        Repeated claims by the same owner have the same result.

        Args:
            owner: Name of a block.
            content: Hex SHA-256.
        """
        if self._known is None:
            return False
        key = int(content[:16], 16)
        index = int(np.searchsorted(self._known, np.uint64(key)))
        if index < len(self._known) and int(self._known[index]) == key:
            return False
        if key not in self._owners and len(self._owners) >= MOST_CLAIMED:
            return False
        return self._owners.setdefault(key, owner) == owner
