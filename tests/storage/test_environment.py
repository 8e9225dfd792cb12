"""What a machine offers."""

import os
from pathlib import Path

from fer_ray.storage.environment import available_memory


def test_page_cache_counts_as_available(tmp_path: Path) -> None:
    file, size = tmp_path / "cached", 128 << 20
    with file.open("wb") as stream:
        stream.write(bytes(size))
        os.fsync(stream.fileno())  # the cache need not be written before it is dropped
    free = os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    assert available_memory() - free > size // 2
