"""All experiments of a run folder, each with its protocol, as a dated table.

python -m benchmarks.accuracies --out RUN_FOLDER --name NAME
"""

import argparse
import math
from pathlib import Path

from benchmarks.report import Table, write_result
from fer_ray.evaluation.results import read_experiments
from fer_ray.features.bottleneck_features import read_records
from fer_ray.storage.run_folder import frames_record


def main() -> None:
    """Keep the table; features of weights that are not published ones are named as such."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True, help="A run folder with trials.")
    parser.add_argument("--name", required=True)
    options = parser.parse_args()
    data = frames_record(options.out)["data"]
    table = Table("experiment", "images", "trials", "accuracy", "95 % interval", "macro recall",
                  "log loss", "subject also in training")  # fmt: skip
    for one in sorted(
        (item.summary for item in read_experiments(options.out)),
        key=lambda one: (one.protocol, -one.test_accuracy),
    ):
        low, high = one.interval
        bounds = f"{low:.3f}–{high:.3f}" if math.isfinite(low) else "–"
        table.add(
            one.experiment, f"{one.n_images}", f"{one.n_trials}", f"**{one.test_accuracy:.3f}**",
            f"{bounds} ({one.interval_method})", f"{one.macro_recall:.3f}",
            f"{one.test_log_loss:.3f}", f"{one.test_subject_in_train:.0%}",
        )  # fmt: skip
    weights = "; ".join(
        f"{name}: {record['weights']['origin']}, SHA-256 {record['weights']['sha256'][:12]}…"
        for name, record in read_records(options.out).items()
    )
    protocol = (
        f"{Path(data['root']).name}: {data['selected']} images selected. Random: 80/20 splits of "
        f"each class; folds: by subject. Weights: {weights}."
    )
    write_result(options.name, protocol, table)


if __name__ == "__main__":
    main()
