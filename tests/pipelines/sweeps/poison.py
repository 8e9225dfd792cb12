"""Faulty replacements for the extraction steps of a sweep."""

import ctypes
import os
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa

from fer_ray.pipelines.sweeps.describe import DescribeImage


@dataclass(frozen=True)
class Poisoned(DescribeImage):
    """Processes images, except that those with certain last bytes crash, raise or never finish."""

    def __call__(self, content: bytes, enter: Callable[[str], None]) -> pa.Table:
        enter("decode")
        if content.endswith(b"crash"):
            ctypes.string_at(0)
        if content.endswith(b"loop"):
            while True:
                pass
        if content.endswith(b"raise"):
            raise ArithmeticError("an unforeseen case")
        if content.endswith(b"sleep"):
            time.sleep(3600)
        return super().__call__(content, enter)


@dataclass(frozen=True)
class DiesAtStart(DescribeImage):
    """Is killed the first `times` times that it loads; each start adds a line to a file."""

    starts: Path = Path()
    times: int = 0

    def load(self) -> None:
        with self.starts.open("a") as file:
            file.write("started\n")
        if len(self.starts.read_text().splitlines()) <= self.times:
            os.kill(os.getpid(), signal.SIGKILL)
        super().load()
