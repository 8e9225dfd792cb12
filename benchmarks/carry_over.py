"""How models do on images of another source than they were trained on, as a dated table.

    python -m benchmarks.carry_over PREDICTION… --name NAME [--known FILE]

Each PREDICTION is what `fer-ray predict` left on labelled images. FILE names subjects of them, one
a line, that the models may know by other images: figures without these stand beside the others.
"""

import argparse
from pathlib import Path
from typing import Any

from benchmarks.report import Table, write_result
from fer_ray.evaluation.answers import evaluate
from fer_ray.storage.files import read_json
from fer_ray.storage.parquet import read_table


def main() -> None:
    """Keep the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("predictions", type=Path, nargs="+", metavar="PREDICTION")
    parser.add_argument("--name", required=True)
    parser.add_argument("--known", type=Path, metavar="FILE")
    options = parser.parse_args()
    known = set(options.known.read_text(encoding="utf-8").split()) if options.known else set()
    table = Table("model", "trained on", "there, by its protocol: accuracy", "there: macro recall",
                  "images here", "accuracy", "macro recall", "macro F1", "log loss",
                  "commonest class")  # fmt: skip
    for folder in options.predictions:
        record = read_json(folder / "predict.json")
        if record is None or not (record["evaluation"] or {}).get("figures"):
            parser.error(f"{folder} holds no finished answers on labelled images.")
        tested, evidence = record, record["bundle"]["evidence"]
        there = (
            f"`{evidence['experiment']}`",
            f"{evidence['data']}{' (synthetic)' if evidence['synthetic'] else ''}: "
            f"{record['bundle']['trained_images']} images",
            f"{evidence['test_accuracy']:.3f} ({span(evidence['interval_95'])}; "
            f"{evidence['protocol']})",
            f"{evidence['macro_recall']:.3f}",
        )
        table.add(*there, *here(record["evaluation"]["figures"]))
        if known:
            told = "the same, subjects not known to it"
            table.add(told, "", "", "", *here(without(known, folder, record)))
    data = tested["data"]
    protocol = (
        f"Tested on {Path(data['root']).name}: {data['selected']} images, of which those with a "
        "label, a face and landmarks count. 95 % intervals here: bootstrap over subjects; "
        f"{len(known)} subjects may be known to models by other images."
    )
    write_result(options.name, protocol, table)


def without(known: set[str], folder: Path, record: dict[str, Any]) -> dict[str, Any]:
    """The figures of a prediction on other subjects than the known ones."""
    rows = read_table(folder / "predictions").to_pandas()
    rows = rows[rows["emotion"].notna() & ~rows["subject"].isin(known)]
    found = evaluate(rows, tuple(record["bundle"]["labels"]), set(), ("", "", ""))
    assert found is not None
    figures: dict[str, Any] = found["figures"]
    return figures


def here(figures: dict[str, Any]) -> tuple[str, ...]:
    """The cells that tell of the images tested on."""
    ends = figures["intervals_95"]
    cells = (f"{figures[name]:.3f} ({span(ends[name])})"
             for name in ("accuracy", "macro_recall", "macro_f1", "log_loss"))  # fmt: skip
    images = f"{figures['images']} of {figures['subjects']} subjects"
    return images, *cells, f"{figures['commonest_class_share']:.3f}"


def span(ends: list[float | None]) -> str:
    """Both ends of an interval."""
    low, high = ends
    return "none" if low is None or high is None else f"{low:.3f}–{high:.3f}"


if __name__ == "__main__":
    main()
