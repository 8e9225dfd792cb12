"""Distance between the landmarks of the face mesh and those of dlib, on photographs.

    python -m benchmarks.face_landmarks --data FOLDER --landmark-file FILE

Both models see the same crops, which the profile `mesh` cuts. The 68 points of the mesh are those
nearest to the mark-up of iBUG 300-W, with which dlib's model was trained, so a part of each
distance is a constant difference of mark-up. The second column removes it: the mean offset of each
point over all photographs. The unit is the distance between the outer corners of the eyes, as in
the 300-W challenge (Sagonas et al., ICCV workshops, 2013).
"""

from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from benchmarks.photographs import mesh_settings, parse_options, read_photographs
from benchmarks.report import Table, write_result
from fer_ray.faces.loaded_models import load_locator, load_reader
from fer_ray.faces.mesh_topology import IBUG_POINTS
from fer_ray.settings.extraction import ExtractSettings, Landmarks

Floats = NDArray[np.float64]

GROUPS = {
    "jaw": range(17),
    "brows": range(17, 27),
    "nose": range(27, 36),
    "eyes": range(36, 48),
    "outer lips": range(48, 60),
    "inner lips": range(60, 68),
    "all without jaw": range(17, 68),
    "all": range(68),
}
OUTER_CORNERS = (36, 45)


def main() -> None:
    """Locate the landmarks of each photograph with both models, and write the table."""
    options = parse_options(__doc__, images=200)
    cv2.setNumThreads(1)
    settings = mesh_settings(options.landmark_file)
    offsets = np.stack([*offsets_of(settings, options.data, options.images)])
    varying = offsets - offsets.mean(axis=0)
    table = Table("points", "mean distance", "without the mean offset", "90th percentile")
    for name, points in GROUPS.items():
        rows = list(points)
        distances, remaining = (
            np.linalg.norm(values[:, rows], axis=2).mean(axis=1) for values in (offsets, varying)
        )
        table.add(
            name,
            f"{distances.mean():.3f}",
            f"{remaining.mean():.3f}",
            f"{np.quantile(distances, 0.9):.3f}",
        )
    protocol = (
        f"{len(offsets)} photographs, those of {options.images} sampled evenly from "
        f"{options.data.name} in which the mesh and dlib both find one face. Distances are shares "
        "of the distance between the outer corners of the eyes; the percentile is over photographs."
    )
    write_result(f"face-landmarks-{options.data.name}", protocol, table)


def offsets_of(settings: ExtractSettings, folder: Path, count: int) -> Iterator[Floats]:
    """Offsets (68, 2) of the mesh's points from dlib's, in each photograph with both."""
    reader, dlib = load_reader(settings.crop, settings.landmarks), load_locator(Landmarks())
    for photo in read_photographs(folder, count):
        faces = reader(photo, "one", 1, (photo.shape[1], photo.shape[0])).faces
        if not faces or faces[0].mesh is None:
            continue
        located = dlib(faces[0].crop)[1]
        if located is not None:
            points = np.asarray(located, np.float64).reshape(-1, 2)
            first, last = points[list(OUTER_CORNERS)]
            mesh = faces[0].mesh[list(IBUG_POINTS), :2]
            yield (mesh - points) / np.linalg.norm(last - first)


if __name__ == "__main__":
    main()
