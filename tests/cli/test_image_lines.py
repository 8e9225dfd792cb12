"""The lines of `fer-ray show`."""

import pytest

from fer_ray.cli.output.image_lines import IMPROBABLE, image_lines


@pytest.mark.parametrize("p", [0.6, 0.4])
def test_answer_that_is_not_the_most_probable_is_explained(p: float) -> None:
    face = dict.fromkeys(("width", "height", "mode", "sha256", "error", "box_xywh"))
    answer = {"model": "svm", "tested": 1, "correct": 1, "answer": "fear", "probability": p,
              "second": "anger", "second_probability": 1 - p}  # fmt: skip
    found = {"image_id": "a", "path": "a.png", "emotion": "fear", "subject": None, "png": None,
             "no_png": "no face", "faces": [face | {"status": "no_face"}],
             "answers": [answer]}  # fmt: skip
    assert (IMPROBABLE in image_lines(found)) == (p < 0.5)
