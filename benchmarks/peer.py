"""Prediction from the image file on one CPU: `fer_ray` and the package `fer`.

    fer-ray run --data TREE --out RUN --profile fast --feature-set hog+landmarks --scale standard \
        --protocol subject-10fold
    python -m benchmarks.peer --out RUN

`fer` (Haar cascade, small network trained on FER2013) is not a dependency of this project; install
it and its imports separately. Both packages process the same frames in alternating blocks.
Durations are CPU time. Accuracies are on the seven emotions that `fer` knows, over all labelled
images of the run; a missing prediction counts as wrong. Those of `fer_ray` are the run's
predictions, by models trained on other people of the same collection. `fer` has never seen the
collection.
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
from fer_ray.evaluation.experiments.results import read_experiments
from fer_ray.features.image_steps import ImageSteps
from fer_ray.features.steps import IMAGE
from fer_ray.models.bundles.predictor import Predictor
from fer_ray.pipelines.training.make_bundle import make_bundle
from fer_ray.storage.run_folder import frames_record
from fer_ray.vocabulary import EMOTIONS

# Names of emotions: of `fer`, and of `fer_ray`.
NAMES = {"angry": "anger", "disgust": "disgust", "fear": "fear", "happy": "happy",
         "sad": "sadness", "surprise": "surprise", "neutral": "neutral"}  # fmt: skip
EXPERIMENT = "svm-linear-hog+landmarks-subject-10fold-scale=standard"
BLOCK = 32  # frames


def main() -> None:
    """Time both packages, compare their predictions, and write the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True, help="a run folder")
    parser.add_argument("--experiment", default=EXPERIMENT)
    options = parser.parse_args()
    try:
        from fer.fer import FER  # type: ignore[import-not-found]
    except ImportError as problem:
        parser.error(f"The package fer cannot be imported: {problem}. Install it.")
    data = frames_record(options.out)["data"]
    (results,) = read_experiments(options.out, options.experiment)
    images = read_images(options.out, results.predictions)
    fer = FER()
    with tempfile.TemporaryDirectory() as scratch:
        bundle = make_bundle(options.out, Path(scratch) / "bundle", options.experiment)
        fer_ray = BundlePipeline(bundle)
        seconds, answers = {"fer_ray": 0.0, "fer": 0.0}, []
        files = [Path(data["root"], path) for path in images["path"]]
        fer_ray(files[:BLOCK])  # loads models
        fer.detect_emotions(cv2.imread(str(files[0])))
        for start in range(0, len(files), BLOCK):
            block = files[start : start + BLOCK]
            started = time.process_time()
            fer_ray(block)
            between = time.process_time()
            answers += [
                single_emotion(fer.detect_emotions(cv2.imread(str(file)))) for file in block
            ]
            seconds["fer_ray"] += between - started
            seconds["fer"] += time.process_time() - between
    images["fer"] = answers
    name = Path(data["root"]).name
    protocol = (
        f"{len(images)} images of {name}, {images['subject'].nunique()} people, seven emotions; "
        f"{options.experiment}, {len(results.trials)} folds."
    )
    write_result(f"peer-{name}", protocol, comparison_table(images, seconds))


def read_images(out: Path, predictions: pd.DataFrame) -> pd.DataFrame:
    """Images whose emotion `fer` knows, with the predictions of `fer_ray` in column `fer_ray`."""
    columns = ["image_id", "path", "subject", "emotion"]
    images: pd.DataFrame = pq.read_table(out / "frames", columns=columns).to_pandas()
    images = images[images["emotion"].isin(NAMES.values())]
    images = images.merge(predictions[["image_id", "predicted"]], on="image_id", how="left")
    images["fer_ray"] = images["predicted"].map(dict(enumerate(EMOTIONS)))
    return images


def comparison_table(images: pd.DataFrame, seconds: dict[str, float]) -> Table:
    """Durations and accuracies of both packages."""
    each = {name: 1000 * spent / len(images) for name, spent in seconds.items()}
    table = Table("", "ms per frame", "frames per second per CPU", "with a prediction", "accuracy")
    for name, milliseconds in each.items():
        predicted = images[name]
        accuracy = (predicted == images["emotion"]).mean()
        table.add(
            name, f"{milliseconds:.1f}", f"{1000 / milliseconds:.1f}",
            f"{predicted.notna().mean():.1%}", f"{accuracy:.3f}",
        )  # fmt: skip
    table.add("speed-up", f"**{each['fer'] / each['fer_ray']:.2f}**", "", "", "")
    return table


class BundlePipeline:
    """The steps of extraction and a bundle's predictions, as in a task of `fer-ray predict`."""

    def __init__(self, predictor: Predictor) -> None:
        self._predictor, self._settings = predictor, predictor.bundle.settings()

    def __call__(self, files: list[Path]) -> pa.Table:
        """Process image files and return their rows with predictions."""
        rows = ImageSteps(self._settings)(files)
        paths = pa.array([file.name for file in files]).take(rows[IMAGE].combine_chunks())
        return self._predictor(rows.append_column("path", paths))


def single_emotion(faces: object) -> str | None:
    """Name of the most likely emotion if `fer` found exactly one face."""
    if not isinstance(faces, list) or len(faces) != 1:
        return None
    emotions = pd.Series(faces[0]["emotions"])
    return NAMES[str(emotions.idxmax())]


if __name__ == "__main__":
    main()
