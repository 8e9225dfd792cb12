"""Models in Python: trained, saved, loaded, and applied without Ray."""

from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest
from PIL import Image

import fer_ray as fr
from fer_ray.errors import UserError

pytestmark = pytest.mark.slow


def test_predictions_are_those_of_the_command(workplace: Path) -> None:
    rows = fr.predict("models/photos", ["face.png", "wall.png"], out="runs/two", progress=False)
    model = fr.load_model("models/photos")
    ours = model.predict(["wall.png", "face.png", Path("wall.png")])
    assert ours["image"].tolist() == ["wall.png", "face.png", "wall.png"]
    columns = [name for name in ours.columns if name in rows.columns]
    assert {"predicted", "p_happy", "box_xywh", "status", "sha256"} <= set(columns)
    theirs = rows.iloc[[1, 0, 1]].reset_index(drop=True)
    pd.testing.assert_frame_equal(ours[columns], theirs[columns], check_exact=True)


def test_pixels_and_bytes_give_the_prediction_of_the_file(workplace: Path) -> None:
    model = fr.load_model("models/photos")
    pixels = cv2.cvtColor(cv2.imread("face.png"), cv2.COLOR_BGR2RGB)
    [of_file, of_pixels, of_gray, of_bytes] = [
        model.predict(image).iloc[0].filter(like="p_").to_list()
        for image in ("face.png", pixels, pixels[..., 0], Path("face.png").read_bytes())
    ]
    assert of_file == of_pixels == of_gray == of_bytes
    assert model.predict(Image.fromarray(pixels)).iloc[0].filter(like="p_").to_list() == of_file
    threads = cv2.getNumThreads()
    cv2.setNumThreads(threads + 1)
    batch = model.predict([pixels, np.zeros((50, 60), np.uint8)])
    assert cv2.getNumThreads() == threads + 1
    cv2.setNumThreads(threads)
    assert batch["image"].tolist() == [0, 1]
    assert batch["status"].tolist() == ["ok", "no_face"]


def test_saved_model_is_the_same(workplace: Path) -> None:
    trained = fr.train("runs/photos", "reference", progress=False)
    again = fr.load_model(trained.save("models/again"))
    assert (again.sha256, again.card) == (trained.sha256, trained.card)
    assert "svm-linear-reference-random" in repr(again)
    assert len(again.estimator.classes_) == len(again.labels)
    with pytest.raises(UserError, match="is not empty"):
        trained.save("models/again")


@pytest.mark.parametrize(
    ("image", "message"),
    [
        ("nowhere.png", "nowhere.png does not exist"),
        (".", "is not a file"),
        (np.zeros((5, 5)), "array of float64 with shape .5, 5.: pass uint8"),
        (np.zeros((5, 5, 2), np.uint8), "with shape .5, 5, 2."),
        (Image.new("P", (5, 5)), "An image of mode P: convert it to RGB first"),
    ],
)
def test_other_than_images(workplace: Path, image: object, message: str) -> None:
    with pytest.raises(UserError, match=message):
        fr.load_model("models/photos").predict(image)


def test_missing_file_in_a_list_gets_a_row(workplace: Path) -> None:
    rows = fr.load_model("models/photos").predict(["face.png", "nowhere.png", "."])
    assert rows["image"].tolist() == ["face.png", "nowhere.png", "."]
    assert rows["status"].tolist() == ["ok", "unreadable", "unreadable"]
    assert rows["error"].tolist()[1] == "No such file or directory"


def test_errors_are_those_of_the_command(workplace: Path) -> None:
    model = fr.load_model("models/photos")
    with pytest.raises(UserError, match="faces='both': specify one of one, largest"):
        model.predict("face.png", faces="both")
    with pytest.raises(UserError, match="nonsense is not a feature set"):
        fr.train("runs/photos", "nonsense", progress=False)
    with pytest.raises(UserError, match="A model has one kernel, not 2"):
        fr.train("runs/photos", "hog", {"trials.kernels": ["linear", "rbf"]}, progress=False)
    with pytest.raises(UserError, match="does not exist"):
        fr.train("runs/none", progress=False)
    with pytest.raises(UserError, match="is not a model bundle"):
        fr.load_model("runs")
