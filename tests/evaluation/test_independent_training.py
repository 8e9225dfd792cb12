import numpy as np

from fer_ray.evaluation.protocols.independent_training import exclude_shared
from fer_ray.evaluation.protocols.leakage import Identities
from fer_ray.evaluation.protocols.splits import Split


def test_shared_people_and_pictures_are_excluded() -> None:
    """Rows 0–4 are training images, 5–7 test images."""
    identities = Identities(
        [str(row) for row in range(8)],
        {"subject": np.array([0, 1, -1, 2, 3, 1, 4, -1]), "sequence": np.full(8, -1)},
        {"content": np.array([[5, 2], [2, 5]]),
         "near_duplicate": np.array([[6, 3], [3, 6], [0, 4]])},
    )  # fmt: skip
    independent = exclude_shared(identities, Split(np.arange(5), np.arange(5, 8)))
    assert independent.split.train.tolist() == [0, 4]
    found = {kind: rows.tolist() for kind, rows in independent.excluded.items()}
    assert found == {"subject": [1], "content": [2], "near_duplicate": [3]}
