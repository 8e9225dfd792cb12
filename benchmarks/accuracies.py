"""Table of all experiments of a run folder, each with its protocol.

    python -m benchmarks.accuracies --out RUN --name NAME

Writes `results/NAME.md`.
"""

import argparse
import math
from pathlib import Path

from benchmarks.report import Table, write_result
from fer_ray.evaluation.experiments.results import read_experiments
from fer_ray.features.bottleneck_features import read_records
from fer_ray.storage.run_folder import frames_record


def main() -> None:
    """Write the table; the protocol names the weights of all backbones."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True, help="a run folder with trials")
    parser.add_argument("--name", required=True, help="name of the result")
    options = parser.parse_args()
    data = frames_record(options.out)["data"]
    table = Table("experiment", "images", "trials", "accuracy", "95% interval", "macro recall",
                  "log loss", "subject overlap")  # fmt: skip
    summaries = [results.summary for results in read_experiments(options.out)]
    summaries.sort(key=lambda summary: (summary.protocol, -summary.test_accuracy))
    for summary in summaries:
        low, high = summary.interval
        bounds = f"{low:.3f}–{high:.3f}" if math.isfinite(low) else "–"
        table.add(
            summary.experiment, f"{summary.n_images}", f"{summary.n_trials}",
            f"**{summary.test_accuracy:.3f}**", f"{bounds} ({summary.interval_method})",
            f"{summary.macro_recall:.3f}", f"{summary.test_log_loss:.3f}",
            f"{summary.test_subject_in_train:.0%}",
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
