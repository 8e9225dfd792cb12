"""Faulty replacements for the extraction steps of a sweep."""

import ctypes
import os
import signal
import time
from dataclasses import dataclass
from pathlib import Path

from fer_ray.pipelines.sweeps.sweep_steps import SweepSteps
from fer_ray.settings.extraction import Decode
from fer_ray.sources.decoding import Decoded


@dataclass(frozen=True)
class Poisoned(SweepSteps):
    """Processes images, except that those with certain last bytes crash, raise or never finish."""

    def decode_image(self, image: bytes, limits: Decode) -> Decoded:
        if image.endswith(b"crash"):
            ctypes.string_at(0)
        if image.endswith(b"loop"):
            while True:
                pass
        if image.endswith(b"raise"):
            raise ArithmeticError("an unforeseen case")
        if image.endswith(b"sleep"):
            time.sleep(3600)
        return super().decode_image(image, limits)


@dataclass(frozen=True)
class Busy(SweepSteps):
    """Computes for some seconds before it decodes each image."""

    seconds: float = 0

    def decode_image(self, image: bytes, limits: Decode) -> Decoded:
        end = time.process_time() + self.seconds
        while time.process_time() < end:
            pass
        return super().decode_image(image, limits)


@dataclass(frozen=True)
class DiesAtStart(SweepSteps):
    """Is killed the first `times` times that it loads; each start adds a line to a file."""

    starts: Path = Path()
    times: int = 0

    def load(self) -> None:
        with self.starts.open("a") as file:
            file.write("started\n")
        if len(self.starts.read_text().splitlines()) <= self.times:
            os.kill(os.getpid(), signal.SIGKILL)
        super().load()


@dataclass(frozen=True)
class Slow(SweepSteps):
    """Takes some seconds to decode each image."""

    seconds: float = 0

    def decode_image(self, image: bytes, limits: Decode) -> Decoded:
        time.sleep(self.seconds)
        return super().decode_image(image, limits)
