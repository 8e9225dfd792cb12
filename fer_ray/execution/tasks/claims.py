"""Assignment of new contents to blocks, so that each is processed only once.

A content is identified by the first 64 bits of its hash. If two contents share these, or if a claim
is lost with its process, the content counts as known, and the next round processes it.
"""

import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

MAX_CONTENTS = 4_000_000  # per `Claims`: about 400 MB if all of them are new

# Loads the sorted keys of the known contents whose number is `index` of `count` parts.
LoadKnown = Callable[[int, int], NDArray[np.uint64]]


class Claim(Protocol):
    """A function that claims contents for a block; see `Claims.claim`."""

    def __call__(self, owner: str, contents: list[str]) -> set[str]:
        """The contents that the block processes."""


class Claims:
    """Assigns each new content to the first block that claims it.

    Args:
        known: Sorted keys of the contents that have results.
    """

    def __init__(self, known: NDArray[np.uint64]) -> None:
        self._known = known
        self._owners: dict[int, str] = {}
        self._lock = threading.Lock()

    def claim(self, owner: str, contents: list[str]) -> set[str]:
        """Select the contents that are new and assigned to this owner, even if it repeats a claim.

        Args:
            owner: Name of a block.
            contents: Hex SHA-256 of the contents.
        """
        keys = content_keys(contents)
        places = np.searchsorted(self._known, keys)
        found = places < len(self._known)
        found[found] = self._known[places[found]] == keys[found]
        with self._lock:
            return {
                content
                for content, key, known in zip(contents, keys.tolist(), found.tolist(), strict=True)
                if not known and self._is_granted(owner, key)
            }

    @property
    def granted(self) -> NDArray[np.uint64]:
        """The sorted keys of the contents that have been assigned."""
        with self._lock:
            return np.array(sorted(self._owners), np.uint64)

    def _is_granted(self, owner: str, key: int) -> bool:
        if key not in self._owners and len(self._owners) >= MAX_CONTENTS:
            return False
        return self._owners.setdefault(key, owner) == owner


def content_keys(contents: list[str]) -> NDArray[np.uint64]:
    """The first 64 bits of each SHA-256."""
    return np.array([int(content[:16], 16) for content in contents], np.uint64)


@dataclass(frozen=True)
class ClaimActors:
    """Claims in actors, each of which is responsible for a range of hashes. Can be pickled."""

    actors: tuple[Any, ...]

    def __call__(self, owner: str, contents: list[str]) -> set[str]:
        """As `Claims.claim`, with one call per actor."""
        import ray

        parts: dict[int, list[str]] = {}
        for content in contents:
            parts.setdefault(int(content[:8], 16) * len(self.actors) >> 32, []).append(content)
        calls = [self.actors[part].claim.remote(owner, own) for part, own in parts.items()]
        granted: set[str] = set()
        for call in calls:
            # While `ray.get` waits, it would give the task's CPU to another task. An actor may be
            # lost with its node: the next round processes its contents.
            with suppress(ray.exceptions.RayActorError):
                granted |= call.future().result()
        return granted

    def stop(self) -> None:
        """End the actors: tasks refer to them, so that Ray would keep them until it exits."""
        import ray

        for actor in self.actors:
            with suppress(ray.exceptions.RayError):
                ray.kill(actor)


def start_claims(load: LoadKnown, contents: int) -> ClaimActors:
    """Start the actors.

    Args:
        load: Called in each actor.
        contents: Expected number of contents, known and new.
    """
    import ray

    count = 1 + contents // MAX_CONTENTS
    start = ray.remote(num_cpus=0)(_LoadedClaims).remote
    return ClaimActors(tuple(start(partial(load, index, count)) for index in range(count)))


class _LoadedClaims(Claims):
    """`Claims` that loads the known contents where it runs."""

    def __init__(self, load: Callable[[], NDArray[np.uint64]]) -> None:
        super().__init__(load())
