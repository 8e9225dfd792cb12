"""How unusual a face is: its distance from the training faces that are nearest to it.

The distance combines the Euclidean distance and the distance of the directions of two feature
vectors (Sun et al., Out-of-distribution detection with deep nearest neighbors, ICML 2022). It is
computed after a random projection, which approximately preserves both (Achlioptas,
Database-friendly random projections, Journal of Computer and System Sciences 66, 2003). Unlike
principal components, the projection does not depend on the training faces, so training faces and
new faces are treated alike.
"""

from dataclasses import dataclass, fields
from io import BytesIO

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

NEIGHBOURS = 5
PROJECTIONS = 256
MAX_FACES = 2000  # maximum that a bundle stores
SEED = 68


@dataclass(frozen=True)
class TrainingFaces:
    """The training faces, and how far each is from those of other people.

    Attributes:
        mean: Mean of each feature (width,).
        unit: Divisor of each feature (width,).
        signs: Random projection (projections, width), 1 or -1.
        points: Projected training faces (n, projections).
        neighbours: Rank of the neighbour whose distance counts, 0-dimensional.
        distances: Distance of each training face from the faces of other people (n,), ascending.
    """

    mean: Floats
    unit: Floats
    signs: Floats
    points: Floats
    neighbours: Floats
    distances: Floats

    def scores(self, features: Floats) -> Floats:
        """Compute the scores (n,) of faces from their features (n, width); 1: as the median face.

        Each score is bit for bit the same with any other rows.
        """
        median = float(np.median(self.distances))
        return np.array([self._distance(row) / median for row in features], np.float64)

    def _distance(self, row: Floats) -> float:
        point = self.signs @ ((row - self.mean) / self.unit)
        rank = int(self.neighbours) - 1
        return float(np.partition(_distances(point, self.points), rank)[rank])

    def p_values(self, scores: Floats) -> Floats:
        """Compute the share of training faces that are at least as far away (n,), never 0.

        It is the p-value of a conformal test for outliers (Bates et al., Testing for outliers with
        conformal p-values, Annals of Statistics 51, 2023): uniformly distributed for new people
        that resemble the training faces.
        """
        trained = self.distances / float(np.median(self.distances))
        farther = len(trained) - np.searchsorted(trained, scores, side="left")
        return np.asarray((1 + farther) / (1 + len(trained)), np.float64)

    def to_bytes(self) -> bytes:
        """Save the faces as an NPZ file, without pickle."""
        buffer = BytesIO()
        arrays = {field.name: getattr(self, field.name) for field in fields(self)}
        arrays["signs"] = self.signs.astype(np.int8)
        arrays["points"] = self.points.astype(np.float32)
        np.savez_compressed(buffer, **arrays)
        return buffer.getvalue()

    @classmethod
    def from_bytes(cls, content: bytes) -> "TrainingFaces":
        """Load training faces.

        Raises:
            ValueError: The content is something else, or its arrays do not fit together.
        """
        names = [field.name for field in fields(cls)]
        try:
            with np.load(BytesIO(content), allow_pickle=False) as arrays:
                faces = cls(**{name: np.asarray(arrays[name], np.float64) for name in names})
        except Exception as problem:  # an untrusted archive can be damaged in many ways
            raise ValueError(str(problem)) from None
        if not faces._fit_together():
            raise ValueError("its arrays have shapes that do not fit together")
        return faces

    def _fit_together(self) -> bool:
        shapes = (self.unit.shape, self.signs.shape[1:], self.points.shape[1:])
        return (
            shapes == (self.mean.shape, self.mean.shape, self.signs.shape[:1])
            and self.neighbours.shape == ()
            and 1 <= float(self.neighbours) <= len(self.points)
            and self.distances.ndim == 1
            and len(self.distances) > 0
        )


def _distances(point: Floats, points: Floats) -> Floats:
    """Distances (n,) of a point from others (n, projections).

    The geometric mean of the Euclidean distance and, twice, the distance of the directions.
    """
    inner, squares = points @ point, np.einsum("ij,ij->i", points, points)
    square = float(point @ point)
    euclidean = np.maximum(squares + square - 2 * inner, 0)
    norms = np.maximum(np.sqrt(squares * square), np.finfo(float).tiny)
    directions = np.maximum(2 - 2 * inner / norms, 0)
    combined: Floats = np.cbrt(np.sqrt(euclidean) * directions)
    return combined


def describe_faces(features: Floats, scale: Floats, subjects: list[str | None]) -> TrainingFaces:
    """Project the training faces, and compute their distances from the faces of other people.

    Args:
        features: Features of the training faces (n, width). Of more than `MAX_FACES`, a random
            sample is used.
        scale: Divisors of the standard scores (width,), as `scaling.union_scale`.
        subjects: Subject of each face, None where unknown. Such a face counts as another person.
    """
    generator = np.random.default_rng(SEED)
    rows = np.sort(generator.permutation(len(features))[:MAX_FACES])
    features = features[rows]
    mean, deviation = features.mean(axis=0), features.std(axis=0)
    unit = np.where(deviation > 0, deviation, 1) * scale
    signs = generator.choice([-1.0, 1.0], size=(PROJECTIONS, features.shape[1]))
    points = ((features - mean) / unit) @ signs.T
    points = points.astype(np.float32).astype(np.float64)  # as they are saved
    people = _people([subjects[row] for row in rows])
    others = people[:, None] != people[None]
    neighbours = min(NEIGHBOURS, int(others.sum(axis=1).min()))
    distances = [
        np.partition(_distances(point, points[other]), neighbours - 1)[neighbours - 1]
        for point, other in zip(points, others, strict=True)
    ]
    return TrainingFaces(
        mean, unit, signs, points, np.array(float(neighbours)), np.sort(np.array(distances))
    )


def _people(subjects: list[str | None]) -> NDArray[np.int64]:
    """A number for each person; if all faces are of one person, for each face."""
    names = [name or f"face {number}" for number, name in enumerate(subjects)]
    codes = np.unique(names, return_inverse=True)[1]
    return codes if len(set(names)) > 1 else np.arange(len(names))
