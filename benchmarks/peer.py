"""A frame from its file to an answer, on one core: ours beside the package `fer`.

    fer-ray run --data TREE --out RUN --profile fast --feature-set hog+landmarks --scale standard \
        --protocol subject-10fold
    python -m benchmarks.peer --out RUN

`fer` (Haar cascade, small network of FER2013) is no dependency of ours: install it beside, with
what it imports. Frames go through both, a block of them by one right after the same block by the
other; times are of the processor. Accuracies are on the seven emotions that `fer` knows, over all
labelled images of the run: no answer is a wrong one. Ours are the run's predictions, of people who
were not trained on but of the same collection; `fer` never saw the collection.
"""

import argparse
import tempfile
import time
from pathlib import Path

import cv2
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from benchmarks.report import Table, write_result
from fer_ray.evaluation.results import read_experiments
from fer_ray.features import steps
from fer_ray.models.bundles.predictor import Predictor
from fer_ray.pipelines.make_bundle import make_bundle
from fer_ray.sources.decoding import decode_file
from fer_ray.storage.run_folder import frames_record
from fer_ray.vocabulary import EMOTIONS

# `fer`'s names of emotions as ours.
NAMES = {"angry": "anger", "disgust": "disgust", "fear": "fear", "happy": "happy",
         "sad": "sadness", "surprise": "surprise", "neutral": "neutral"}  # fmt: skip
EXPERIMENT = "svm-linear-hog+landmarks-subject-10fold-scale=standard"
BLOCK = 32  # frames


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
    (item,) = read_experiments(options.out, options.experiment)
    trials, predictions = item.trials, item.predictions
    known = ["image_id", "path", "subject", "emotion"]
    images = pq.read_table(options.out / "frames", columns=known).to_pandas()
    images = images[images["emotion"].isin(NAMES.values())]
    images = images.merge(predictions[["image_id", "predicted"]], on="image_id", how="left")
    images["ours"] = images["predicted"].map(dict(enumerate(EMOTIONS)))
    theirs = FER()
    with tempfile.TemporaryDirectory() as scratch:
        ours = Ours(make_bundle(options.out, Path(scratch) / "bundle", options.experiment))
        seconds, answers = {"fer_ray": 0.0, "fer": 0.0}, []
        files = [Path(data["root"], path) for path in images["path"]]
        ours(files[:BLOCK])  # loads what is loaded once
        theirs.detect_emotions(cv2.imread(str(files[0])))
        for start in range(0, len(files), BLOCK):
            block = files[start : start + BLOCK]
            began = time.process_time()
            ours(block)
            between = time.process_time()
            answers += [emotion_of(theirs.detect_emotions(cv2.imread(str(file)))) for file in block]
            seconds["fer_ray"] += between - began
            seconds["fer"] += time.process_time() - between
    images["theirs"] = answers
    each = {name: 1000 * spent / len(files) for name, spent in seconds.items()}
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


class Ours:
    """The steps of extraction and a bundle's answers, as a task of `fer-ray predict` runs them."""

    def __init__(self, predictor: Predictor) -> None:
        self._predictor, self._settings = predictor, predictor.settings()

    def __call__(self, files: list[Path]) -> pa.Table:
        """Rows with answers."""
        settings, size = self._settings, self._settings.crop.size_px
        table = pa.table({"path": [file.name for file in files]})
        table = steps.decoded(table, [decode_file(file, settings.decode) for file in files])
        table = steps.crop(table, settings.crop)
        table = steps.landmarks(table, settings.landmarks, size)
        return self._predictor(steps.features(table, settings.features.sets, size))


def emotion_of(faces: object) -> str | None:
    """The likeliest emotion of the only face, by our name."""
    if not isinstance(faces, list) or len(faces) != 1:
        return None
    emotions = pd.Series(faces[0]["emotions"])
    return NAMES[str(emotions.idxmax())]


if __name__ == "__main__":
    main()
