import pyarrow as pa
import pytest

from fer_ray.evaluation.answers import answer_figures, count_answers
from fer_ray.vocabulary import ABSTAINED


def test_figures_of_faces_with_predictions() -> None:
    rows = pa.table(
        {
            "predicted": ["happy", "fear", "anger", None],
            "answer": ["happy", ABSTAINED, ABSTAINED, None],
            "prediction_set": [["happy"], ["fear", "anger", "happy"], [], None],
            "ood_p_value": [0.5, 0.05, 0.2, None],
        }
    )
    counts = count_answers(rows.slice(0, 2)) + count_answers(rows.slice(2))
    assert counts == {"faces": 3, "abstained": 2, "set_classes": 4, "unusual": 1}
    assert answer_figures(counts) == {
        "abstained": pytest.approx(2 / 3),
        "unusual face": pytest.approx(1 / 3),
        "classes per set": pytest.approx(4 / 3),
    }
    assert answer_figures(count_answers(rows.slice(3))) == {}
