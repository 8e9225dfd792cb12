"""A frame from its file to an answer, on one core: ours beside the package `fer`.

    fer-ray run --data TREE --out RUN --profile fast --feature-set hog+landmarks --scale standard \
        --protocol subject-10fold
    python -m benchmarks.peer --out RUN

`fer` (Haar cascade, small network of FER2013) is no dependency of ours: install it beside, with
what it imports. Each frame goes through both, one right after the other; times are of the
processor. Accuracies are on the seven emotions that `fer` knows, over all such images of the run
that are labelled: no answer is a wrong one. Ours are the run's predictions, of people who were not
trained on but of the same collection; `fer` never saw the collection.
"""

import argparse
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pyarrow.parquet as pq

from benchmarks.report import Table, write_result
from fer_ray.bundle.making import make_bundle
from fer_ray.bundle.predictor import Answering
from fer_ray.contracts import EMOTIONS
from fer_ray.experiments import frames_record
from fer_ray.learn.trials import read_experiment
from fer_ray.sweep.describe import DescribeImage

# `fer`'s names of emotions as ours.
NAMES = {"angry": "anger", "disgust": "disgust", "fear": "fear", "happy": "happy",
         "sad": "sadness", "surprise": "surprise", "neutral": "neutral"}  # fmt: skip
EXPERIMENT = "svm-linear-hog+landmarks-subject-10fold-scale=standard"
WARM_UP = 3  # frames that load models and caches, not counted


def main() -> None:
    """Time both, compare their answers, keep the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True, help="A run folder.")
    parser.add_argument("--experiment", default=EXPERIMENT)
    options = parser.parse_args()
    try:
        from fer.fer import FER  # type: ignore[import-not-found]
    except ImportError as problem:
        parser.error(f"the package fer cannot be imported: {problem}")
    data = frames_record(options.out)["data"]
    trials, predictions = read_experiment(options.out, options.experiment)
    known = ["image_id", "path", "subject", "emotion"]
    images = pq.read_table(options.out / "frames", columns=known).to_pandas()
    images = images[images["emotion"].isin(NAMES.values())]
    images = images.merge(predictions[["image_id", "predicted"]], on="image_id", how="left")
    images["ours"] = images["predicted"].map(dict(enumerate(EMOTIONS)))
    theirs = FER()
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch) / "bundle"
        predictor = make_bundle(options.out, folder, options.experiment)
        ours = DescribeImage(predictor.settings(), answer=Answering(folder, predictor.sha256))
        ways: dict[str, Callable[[Path], object]] = {
            "fer_ray": lambda file: ours(file.read_bytes(), lambda _: None),
            "fer": lambda file: theirs.detect_emotions(cv2.imread(str(file))),
        }
        seconds: dict[str, list[float]] = {name: [] for name in ways}
        answers = []
        paths = [Path(data["root"], path) for path in images["path"]]
        for file in paths[:WARM_UP] + paths:
            for name, way in ways.items():
                started = time.process_time()
                answer = way(file)
                seconds[name].append(time.process_time() - started)
            answers.append(emotion_of(answer))
    images["theirs"] = answers[WARM_UP:]
    each = {name: 1000 * np.mean(values[WARM_UP:]) for name, values in seconds.items()}
    table = Table("", "ms a frame", "frames a second and core", "answered", "accuracy")
    for name, answer in (("fer_ray", images["ours"]), ("fer", images["theirs"])):
        right = (answer == images["emotion"]).mean()
        rate = 1000 / each[name]
        table.add(
            name, f"{each[name]:.1f}", f"{rate:.1f}", f"{answer.notna().mean():.1%}", f"{right:.3f}"
        )
    table.add("times as fast", f"**{each['fer'] / each['fer_ray']:.2f}**", "", "", "")
    name = Path(data["root"]).name
    protocol = (
        f"{len(images)} images of {name}, {images['subject'].nunique()} people, seven emotions; "
        f"{options.experiment}, {len(trials)} folds."
    )
    write_result(f"peer-{name}", protocol, table)


def emotion_of(faces: object) -> str | None:
    """The likeliest emotion of the only face, by our name."""
    if not isinstance(faces, list) or len(faces) != 1:
        return None
    emotions = pd.Series(faces[0]["emotions"])
    return NAMES[str(emotions.idxmax())]


if __name__ == "__main__":
    main()
