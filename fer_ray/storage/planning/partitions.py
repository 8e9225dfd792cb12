"""Partitions of images and contents by hash, so that no step needs all of them at once."""

import re
import zlib
from collections.abc import Iterable
from functools import lru_cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

HASH_BITS = 32
MAX_ROWS = 262_144  # per partition: about 100 MB in memory
_FILE_NAME = re.compile(r"partition-(\d+)-")


class Partition(NamedTuple):
    """All rows whose hash starts with the same bits.

    Attributes:
        number: 1 for all rows, 2 and 3 for the halves, 4 to 7 for the quarters, and so on.

    Examples:
        >>> from fer_ray.storage.planning.partitions import Partition
        >>> hex(Partition(3).start), hex(Partition(3).stop)
        ('0x80000000', '0x100000000')
    """

    number: int

    @property
    def level(self) -> int:
        """Number of bits that all hashes share."""
        return self.number.bit_length() - 1

    @property
    def start(self) -> int:
        """The smallest hash."""
        return (self.number - (1 << self.level)) << (HASH_BITS - self.level)

    @property
    def stop(self) -> int:
        """One more than the largest hash."""
        return self.start + (1 << (HASH_BITS - self.level))

    def overlaps(self, other: "Partition") -> bool:
        """Return whether a hash can be in both."""
        return self.start < other.stop and other.start < self.stop


def partitions(level: int) -> list[Partition]:
    """All partitions whose rows share this number of bits."""
    return [Partition(number) for number in range(1 << level, 2 << level)]


def level_for(rows: int) -> int:
    """The level at which partitions of this many rows have at most `MAX_ROWS` on average."""
    return max(0, (max(1, rows) - 1) // MAX_ROWS).bit_length()


def partition_numbers(hashes: NDArray[np.uint32], level: int) -> set[int]:
    """The numbers of the partitions that contain the hashes."""
    shifted = hashes.astype(np.uint64) >> np.uint64(HASH_BITS - level)
    return {(1 << level) + int(index) for index in np.unique(shifted)}


def path_hashes(paths: Iterable[str]) -> NDArray[np.uint32]:
    """The hash of each path: its CRC-32, which is the same in every version and on every node."""
    return np.fromiter((zlib.crc32(path.encode()) for path in paths), np.uint32)


def content_hashes(contents: Iterable[str]) -> NDArray[np.uint32]:
    """The first 32 bits of each SHA-256."""
    return np.fromiter((int(content[:8], 16) for content in contents), np.uint32)


def partition_file(partition: Partition, unique: str) -> str:
    """Name of a file of `images` with the rows of one partition."""
    return f"partition-{partition.number}-{unique}"


@lru_cache(maxsize=1 << 16)
def partition_of(file: str) -> Partition:
    """The partition of a file of `images`; that of all rows if its name does not say."""
    match = _FILE_NAME.match(file)
    return Partition(int(match[1])) if match else Partition(1)
