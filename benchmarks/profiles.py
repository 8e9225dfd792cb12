"""Accuracy of the same SVM on the features of the reference and the fast profile.

    python -m benchmarks.profiles --data TREE

The protocol is leave-one-subject-out, so the result does not depend on a random choice of folds.
Only images that are usable with both profiles count. The interval of the difference is a bootstrap
over subjects.
"""

import argparse
import tempfile
from pathlib import Path

import numpy as np
import pandas as pd

from benchmarks.report import Table, write_result
from fer_ray.evaluation.experiments.results import read_experiments
from fer_ray.execution.cluster.session import ray_closed_after
from fer_ray.execution.progress import silent
from fer_ray.pipelines import run
from fer_ray.pipelines.training.trials import run_trials
from fer_ray.settings.root import Settings
from fer_ray.storage.locks import lock_folder

FEATURE_SETS = ("reference", "landmarks", "hog+landmarks")
PROFILES = ("reference", "fast")
RESAMPLES = 10_000


def main() -> None:
    """Extract with both profiles, run the trials, and write the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="a folder in the layout of CK+")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch, ray_closed_after():
        correct = {
            profile: score_images(options.data, Path(scratch, profile), profile)
            for profile in PROFILES
        }
    table = Table("features", "images", "subjects", "reference", "fast", "fast – reference, points",
                  "95% interval")  # fmt: skip
    for feature_set in FEATURE_SETS:
        both = correct["reference"][feature_set].merge(
            correct["fast"][feature_set],
            on=["image_id", "subject"],
            suffixes=("_reference", "_fast"),
        )
        change = both["correct_fast"].astype(float) - both["correct_reference"]
        low, high = bootstrap_interval(change.groupby(both["subject"]).agg(["sum", "count"]))
        table.add(
            feature_set, str(len(both)), str(both["subject"].nunique()),
            f"{both['correct_reference'].mean():.3f}", f"{both['correct_fast'].mean():.3f}",
            f"**{100 * change.mean():+.1f}**", f"{100 * low:+.1f} to {100 * high:+.1f}",
        )  # fmt: skip
    protocol = (
        f"{options.data.name}, the reference study's selection; linear SVM (C 1, standardised), "
        f"leave one subject out; bootstrap over subjects, {RESAMPLES} resamples."
    )
    write_result(f"profiles-{options.data.name}", protocol, table)


def score_images(data: Path, out: Path, profile: str) -> dict[str, pd.DataFrame]:
    """Extract with a profile and run the trials.

    Returns:
        By feature set, a table of the images: `image_id`, `subject`, and `correct`, whether the
        prediction is correct.
    """
    settings = Settings.model_validate(
        {
            "profile": profile,
            "extract": {"features": {"sets": ["reference", "landmarks", "hog"]}},
            "trials": {"kernels": ["linear"], "protocol": "loso", "scale": "standard"},
        }
    )
    with lock_folder(out):
        run.run_extract(data, out, settings, silent)
        for feature_set in FEATURE_SETS:
            trials = settings.trials.model_copy(update={"feature_set": feature_set})
            run_trials(out, trials, settings.execution, silent)
    scored = {}
    for results in read_experiments(out):
        predictions = results.predictions
        correct = predictions["predicted"] == predictions["label"]
        images = predictions[["image_id", "subject"]].assign(correct=correct)
        scored[results.summary.feature_set] = images
    return scored


def bootstrap_interval(by_subject: pd.DataFrame) -> tuple[float, float]:
    """95% interval of the mean over images, resampling subjects with replacement.

    Args:
        by_subject: `sum` and `count` of the values of each subject.
    """
    generator = np.random.default_rng(0)
    rows = generator.integers(0, len(by_subject), (RESAMPLES, len(by_subject)))
    sums, counts = by_subject["sum"].to_numpy(), by_subject["count"].to_numpy()
    low, high = np.quantile(sums[rows].sum(1) / counts[rows].sum(1), (0.025, 0.975))
    return float(low), float(high)


if __name__ == "__main__":
    main()
