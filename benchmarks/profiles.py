"""Does the fast profile cost accuracy? The same SVM on features of both profiles.

    python -m benchmarks.profiles --data TREE

Leave-one-subject-out, so that no draw of folds decides; on the images that both profiles could
describe, with the difference by image and its interval from a bootstrap over subjects.
"""

import argparse
import tempfile
from pathlib import Path

import numpy as np
import pandas as pd

from benchmarks.report import Table, write_result
from fer_ray.evaluation.results import read_experiments
from fer_ray.execution.progress import silent
from fer_ray.execution.session import ray_closed_after
from fer_ray.pipelines import run
from fer_ray.pipelines.trials import run_trials
from fer_ray.settings.root import Settings
from fer_ray.storage.locks import run_folder

FEATURE_SETS = ("reference", "landmarks", "hog+landmarks")
PROFILES = ("reference", "fast")
RESAMPLES = 10_000


def main() -> None:
    """Extract with both profiles, run the trials, keep the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="A CK+ tree.")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch, ray_closed_after():
        answers = {name: answers_of(options.data, Path(scratch, name), name) for name in PROFILES}
    table = Table("features", "images", "subjects", "reference", "fast", "fast – reference, points",
                  "95 % interval")  # fmt: skip
    for feature_set in FEATURE_SETS:
        both = answers["reference"][feature_set].merge(
            answers["fast"][feature_set],
            on=["image_id", "subject"],
            suffixes=("_reference", "_fast"),
        )
        change = both["right_fast"].astype(float) - both["right_reference"]
        low, high = interval(change.groupby(both["subject"]).agg(["sum", "count"]))
        table.add(
            feature_set, str(len(both)), str(both["subject"].nunique()),
            f"{both['right_reference'].mean():.3f}", f"{both['right_fast'].mean():.3f}",
            f"**{100 * change.mean():+.1f}**", f"{100 * low:+.1f} to {100 * high:+.1f}",
        )  # fmt: skip
    protocol = (
        f"{options.data.name}, the study's selection; linear SVM (C 1, features scaled), leave one "
        f"subject out; bootstrap over subjects, {RESAMPLES} resamples."
    )
    write_result(f"profiles-{options.data.name}", protocol, table)


def answers_of(data: Path, out: Path, profile: str) -> dict[str, pd.DataFrame]:
    """By feature set: each image with its subject, and whether it was answered rightly."""
    settings = Settings.model_validate(
        {
            "profile": profile,
            "extract": {"features": {"sets": ["reference", "landmarks", "hog"]}},
            "trials": {"kernels": ["linear"], "protocol": "loso", "scale": "standard"},
        }
    )
    with run_folder(out):
        run.run_extract(data, out, settings, silent)
        for feature_set in FEATURE_SETS:
            trials = settings.trials.model_copy(update={"feature_set": feature_set})
            run_trials(out, trials, settings.execution, silent)
    found = {}
    for item in read_experiments(out):
        predictions = item.predictions
        right = predictions["predicted"] == predictions["label"]
        kept = predictions[["image_id", "subject"]].assign(right=right)
        found[item.summary.feature_set] = kept
    return found


def interval(by_subject: pd.DataFrame) -> tuple[float, float]:
    """95 % of the mean over images, subjects drawn with replacement."""
    draw = np.random.default_rng(0)
    at = draw.integers(0, len(by_subject), (RESAMPLES, len(by_subject)))
    sums, counts = by_subject["sum"].to_numpy(), by_subject["count"].to_numpy()
    low, high = np.quantile(sums[at].sum(1) / counts[at].sum(1), (0.025, 0.975))
    return float(low), float(high)


if __name__ == "__main__":
    main()
