"""Accuracy of models on images of another source than the one they were trained on.

    python -m benchmarks.transfer PREDICTION... --name NAME [--known FILE]

Each PREDICTION is a folder that `fer-ray predict` wrote for labelled images. FILE lists subjects of
these images, one per line, that the models may know from other images. The table then also has
figures without them.
"""

import argparse
from pathlib import Path
from typing import Any

from benchmarks.report import Table, write_result
from fer_ray.evaluation.labelled_predictions import evaluate_predictions
from fer_ray.storage.files import read_json
from fer_ray.storage.parquet import read_table


def main() -> None:
    """Write the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("predictions", type=Path, nargs="+", metavar="PREDICTION")
    parser.add_argument("--name", required=True, help="name of the result")
    parser.add_argument("--known", type=Path, metavar="FILE")
    options = parser.parse_args()
    known = set(options.known.read_text(encoding="utf-8").split()) if options.known else set()
    table = Table("model", "trained on", "accuracy in training", "macro recall in training",
                  "images", "accuracy", "macro recall", "macro F1", "log loss",
                  "majority class")  # fmt: skip
    for folder in options.predictions:
        record = read_json(folder / "predict.json")
        if record is None or not (record["evaluation"] or {}).get("figures"):
            parser.error(f"{folder} contains no complete predictions of labelled images.")
        table.add(*training_cells(record["bundle"]), *test_cells(record["evaluation"]["figures"]))
        if known:
            figures = evaluate_unknown(known, folder, record)
            table.add("without subjects it may know", "", "", "", *test_cells(figures))
        data = record["data"]
    protocol = (
        f"Tested on {Path(data['root']).name}: {data['selected']} images. Figures cover those with "
        "a label, a face and landmarks. 95% intervals on them: bootstrap over subjects. Models may "
        f"know {len(known)} subjects from other images."
    )
    write_result(options.name, protocol, table)


def evaluate_unknown(known: set[str], folder: Path, record: dict[str, Any]) -> dict[str, Any]:
    """Figures of a prediction on the subjects that are not in `known`."""
    rows = read_table(folder / "predictions").to_pandas()
    rows = rows[rows["emotion"].notna() & ~rows["subject"].isin(known)]
    labels = tuple(record["bundle"]["labels"])
    evaluation = evaluate_predictions(rows, labels, set(), ("", "", ""))
    assert evaluation is not None
    figures: dict[str, Any] = evaluation["figures"]
    return figures


def training_cells(bundle: dict[str, Any]) -> tuple[str, ...]:
    """Cells about the model and its figures on the source that it was trained on."""
    evidence = bundle["evidence"]
    synthetic = " (synthetic)" if evidence["synthetic"] else ""
    return (
        f"`{evidence['experiment']}`",
        f"{evidence['data']}{synthetic}: {bundle['trained_images']} images",
        f"{evidence['test_accuracy']:.3f} ({format_interval(evidence['interval_95'])}; "
        f"{evidence['protocol']})",
        f"{evidence['macro_recall']:.3f}",
    )


def test_cells(figures: dict[str, Any]) -> tuple[str, ...]:
    """Cells about the figures on the tested images."""
    intervals = figures["intervals_95"]
    cells = (f"{figures[name]:.3f} ({format_interval(intervals[name])})"
             for name in ("accuracy", "macro_recall", "macro_f1", "log_loss"))  # fmt: skip
    images = f"{figures['images']} of {figures['subjects']} subjects"
    return images, *cells, f"{figures['commonest_class_share']:.3f}"


def format_interval(bounds: list[float | None]) -> str:
    """Both bounds of an interval as text."""
    low, high = bounds
    return "none" if low is None or high is None else f"{low:.3f}–{high:.3f}"


if __name__ == "__main__":
    main()
