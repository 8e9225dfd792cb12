"""Recall of the mesh profile by the size of the face.

    python -m benchmarks.face_sizes --data FOLDER --landmark-file FILE

Photographs in which the profile finds exactly one face are reduced until that face has a given
size, and placed on a plain background of 1280 × 960 px at a random position. A face is found if the
image has exactly one, with its centre within half a face of the true one.
"""

from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from benchmarks.photographs import mesh_settings, parse_options, read_photographs
from benchmarks.report import Table, write_result
from fer_ray.faces.loaded_models import load_reader
from fer_ray.faces.reader import FaceReader

Gray = NDArray[np.uint8]
Floats = NDArray[np.float64]

FACE_PX = (24, 32, 48, 64, 96, 160)
GROUND = (1280, 960)
GROUND_GRAY = 128
SEED = 0


def main() -> None:
    """Place each photograph on the background at each size, and write the table."""
    options = parse_options(__doc__, images=100)
    cv2.setNumThreads(1)
    extract = mesh_settings(options.landmark_file)
    reader = load_reader(extract.crop, extract.landmarks)
    photographs = list(find_faces(reader, options.data, options.images))
    table, random = Table("face, px", "photographs", "recall"), np.random.default_rng(SEED)
    for side in FACE_PX:
        found = [is_found(reader, *one, side, random) for one in photographs]
        table.add(str(side), str(len(found)), f"{np.mean(found):.3f}")
    protocol = (
        f"Photographs of {options.data.name} with one face, shrunk until the longer side of "
        f"BlazeFace's box has the given size, at a random position on a gray ground of "
        f"{GROUND[0]}×{GROUND[1]} px."
    )
    write_result("face-sizes", protocol, table)


def find_faces(reader: FaceReader, folder: Path, count: int) -> Iterator[tuple[Gray, Floats]]:
    """Photographs with exactly one face, and its box xywh, as detected."""
    for photo in read_photographs(folder, count):
        faces = reader(photo, "one", 1, (photo.shape[1], photo.shape[0])).faces
        if faces:
            yield photo, np.array(faces[0].face.box_xywh, np.float64)


def is_found(
    reader: FaceReader, photo: Gray, box: Floats, side: int, random: np.random.Generator
) -> bool:
    """Whether the face is found once the photograph is reduced and placed on the background."""
    scale = side / max(box[2:])
    small = cv2.resize(photo, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    height, width = small.shape
    ground = np.full(GROUND[::-1], GROUND_GRAY, np.uint8)
    x = int(random.integers(0, GROUND[0] - width))
    y = int(random.integers(0, GROUND[1] - height))
    ground[y : y + height, x : x + width] = small
    faces = reader(ground, "one", 1, GROUND).faces
    if not faces:
        return False
    centre = scale * (box[:2] + box[2:] / 2) + (x, y)
    found = np.array(faces[0].face.box_xywh)
    return bool(np.linalg.norm(found[:2] + found[2:] / 2 - centre) < side / 2)


if __name__ == "__main__":
    main()
