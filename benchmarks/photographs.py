"""Photographs that the benchmarks of face models sample, and the options that name them."""

import argparse
import os
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from fer_ray.settings.extraction import ExtractSettings
from fer_ray.settings.loading import load_settings

Gray = NDArray[np.uint8]

SUFFIXES = (".jpg", ".png")


def parse_options(description: str | None, images: int) -> argparse.Namespace:
    """Read the options of a benchmark: `data`, `landmark_file` and `images`.

    Args:
        description: Help text of the benchmark.
        images: Default number of images.
    """
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--data", type=Path, required=True, help="a folder of photographs")
    parser.add_argument("--landmark-file", type=Path, required=True, help="face_landmarker.task")
    parser.add_argument("--images", type=int, default=images, help="images to sample")
    return parser.parse_args()


def mesh_settings(landmark_file: Path) -> ExtractSettings:
    """The extraction settings of the profile `mesh` with a given model file."""
    overrides = ("profile=mesh", f"extract.landmarks.file={landmark_file}")
    return load_settings(None, overrides).extract


def sample_files(folder: Path, count: int) -> list[Path]:
    """Paths of `count` images relative to `folder`, evenly spread over the sorted ones."""
    files = sorted(file for file in folder.rglob("*") if file.suffix.lower() in SUFFIXES)
    rows = np.linspace(0, len(files) - 1, min(count, len(files))).round().astype(int)
    return [files[row].relative_to(folder) for row in rows]


def read_photographs(folder: Path, count: int) -> Iterator[Gray]:
    """Gray photographs (height, width) uint8, sampled from a folder."""
    for file in sample_files(folder, count):
        yield np.asarray(cv2.imread(str(folder / file), cv2.IMREAD_GRAYSCALE), np.uint8)


def describe_load() -> str:
    """The current load of the machine, in words."""
    return f"Load at the end: {os.getloadavg()[0]:.1f} processes"
