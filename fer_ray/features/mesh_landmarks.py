"""The step that turns face meshes into landmarks, blendshapes and head pose."""

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from fer_ray.faces.mesh_locator import MeshLocator
from fer_ray.faces.mesh_topology import IBUG_POINTS
from fer_ray.features.head_pose import pose
from fer_ray.features.step_columns import StepOutcome, read_vectors, to_vectors, with_columns
from fer_ray.vocabulary import BLENDSHAPES as BLENDSHAPE_NAMES
from fer_ray.vocabulary import N_LANDMARKS, N_MESH_POINTS, Stage, Status

MESH = "mesh"  # (478 × 3) float32, crop pixels
BLENDSHAPES = "blendshapes"  # 52 float32
N_BLENDSHAPES = len(BLENDSHAPE_NAMES)
POSE = ("yaw", "pitch", "roll")


def mesh_landmarks(table: pa.Table, locator: MeshLocator) -> pa.Table:
    """The 68 landmarks and the blendshapes of the meshes that framed the crops."""
    outcome = StepOutcome(table, Stage.LANDMARKS)
    points: list[NDArray[np.float32] | None] = [None] * table.num_rows
    movements: list[NDArray[np.float32] | None] = [None] * table.num_rows
    meshes = read_vectors(table[MESH]).astype(np.float64).reshape(-1, N_MESH_POINTS, 3)
    located = table[MESH].is_valid().to_pylist()
    for row in outcome.usable_rows():
        if not located[row]:
            outcome.set(row, Status.NO_LANDMARKS, "the face mesh found no face in the box")
            continue
        mesh = meshes[row]
        points[row] = mesh[list(IBUG_POINTS), :2].astype(np.float32).ravel()
        movements[row] = locator.blendshapes(mesh)
    absent = np.array([values is None for values in points], dtype=bool)
    angles = pose(np.where(absent[:, None, None], 0, meshes))
    turns = table["crop_angle"].to_numpy(zero_copy_only=False)
    angles[:, POSE.index("roll")] += np.where(absent, 0, turns)
    return with_columns(
        table,
        **outcome.columns(),
        landmarks_xy=to_vectors(points, 2 * N_LANDMARKS),
        **{
            name: pa.array(angles[:, axis].astype(np.float32), mask=absent)
            for axis, name in enumerate(POSE)
        },
        **{BLENDSHAPES: to_vectors(movements, N_BLENDSHAPES)},
    )
