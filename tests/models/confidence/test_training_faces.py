from io import BytesIO

import numpy as np
import pytest
from numpy.typing import NDArray

from fer_ray.models.confidence.training_faces import TrainingFaces, describe_faces

WIDTH, FACES = 120, 240
MIX = np.random.default_rng(3).normal(size=(6, WIDTH))


def draw_features(seed: int, count: int) -> NDArray[np.float64]:
    """Faces of pairs that vary along six directions, and a little along all others."""
    random = np.random.default_rng(seed)
    people = np.repeat(random.normal(size=(count // 2, 6)), 2, axis=0)
    faces = people + 0.1 * random.normal(size=(count, 6))
    return faces @ MIX + 0.3 * random.normal(size=(count, WIDTH))


@pytest.fixture(scope="module")
def faces() -> TrainingFaces:
    subjects = [f"S{number // 2}" for number in range(FACES)]
    return describe_faces(draw_features(1, FACES), np.ones(WIDTH), subjects)


def test_p_values_of_similar_faces_are_uniform(faces: TrainingFaces) -> None:
    p_values = faces.p_values(faces.scores(draw_features(2, 600)))
    assert 0.01 <= np.mean(p_values <= 0.05) <= 0.09
    assert 0.42 <= np.mean(p_values <= 0.5) <= 0.58
    assert p_values.min() >= 1 / (FACES + 1)


def test_other_faces_are_unusual(faces: TrainingFaces) -> None:
    shifted = draw_features(2, 50) + 14 * MIX[0]
    noisy = draw_features(2, 50) + 2 * np.random.default_rng(4).normal(size=(50, WIDTH))
    for others in (shifted, noisy):
        assert np.mean(faces.p_values(faces.scores(others)) <= 0.05) > 0.9


def test_scores_do_not_depend_on_other_rows(faces: TrainingFaces) -> None:
    rows = draw_features(5, 34)
    alone = np.concatenate([faces.scores(row[None]) for row in rows])
    assert np.array_equal(faces.scores(rows), alone)


def test_saved_faces_give_the_same_scores(faces: TrainingFaces) -> None:
    loaded, rows = TrainingFaces.from_bytes(faces.to_bytes()), draw_features(6, 10)
    assert np.array_equal(loaded.scores(rows), faces.scores(rows))


@pytest.mark.parametrize("subjects", [["S1"] * 6, [None] * 6, ["S1", "S1", "S1", "S2", None, None]])
def test_few_people(subjects: list[str | None]) -> None:
    faces = describe_faces(draw_features(7, 6), np.ones(WIDTH), subjects)
    assert np.isfinite(faces.distances).all()
    assert len(faces.distances) == 6


def test_damaged_files_are_refused(faces: TrainingFaces) -> None:
    content = faces.to_bytes()
    forged = [b"", b"no archive", content[:500]]
    for name, value in (("unit", np.ones(3)), ("neighbours", np.array(999.0)),
                        ("distances", np.ones((0,)))):  # fmt: skip
        buffer = BytesIO()
        np.savez(buffer, **{**vars(faces), name: value})
        forged.append(buffer.getvalue())
    for damaged in forged:
        with pytest.raises(ValueError, match=r"."):
            TrainingFaces.from_bytes(damaged)
