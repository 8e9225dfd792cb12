"""Accuracy of models on images of other sources, as `fer-ray transfer` computed it.

    python -m benchmarks.transfer TRANSFER... --name NAME

Each TRANSFER is a folder that `fer-ray transfer` wrote, one per feature set and calibration.
"""

import argparse
from pathlib import Path
from typing import Any

from benchmarks.report import Table, write_result
from fer_ray.report.transfer_page import (
    EXCLUDED_HEADS,
    HEADS,
    excluded_cells,
    figure_cells,
)
from fer_ray.storage.files import read_json
from fer_ray.storage.run_folder import TransferFolder


def main() -> None:
    """Write the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("transfers", type=Path, nargs="+", metavar="TRANSFER")
    parser.add_argument("--name", required=True, help="name of the result")
    options = parser.parse_args()
    figures = Table("features", "calibration", *HEADS, "Log loss, nats")
    excluded = Table("features", *EXCLUDED_HEADS)
    records = []
    for folder in options.transfers:
        record = read_json(TransferFolder(folder).record)
        if record is None:
            parser.error(f"{folder} contains no complete result of fer-ray transfer.")
        records.append(record)
        settings = record["settings"]
        features = f"`{settings['feature_set']}`"
        first = settings["feature_set"] not in [
            one["settings"]["feature_set"] for one in records[:-1]
        ]
        for row in record["matrix"]:
            loss = "{log_loss:.3f} ({log_loss_low:.3f} to {log_loss_high:.3f})".format(**row)
            figures.add(features, settings["calibration"], *figure_cells(row), loss)
            if first:  # the images do not depend on the calibration
                excluded.add(features, *excluded_cells(row))
    write_result(options.name, protocol(records), figures, excluded)


def protocol(records: list[dict[str, Any]]) -> str:
    """The models and sources of all transfers, in words."""
    models = "; ".join(dict.fromkeys(describe_model(record["settings"]) for record in records))
    sources = "; ".join(
        f"{source['name']}{' (synthetic)' if source['synthetic'] else ''}: {source['images']} of "
        f"{source['selected']} selected images have a label, a face and landmarks, of "
        f"{source['subjects']} subjects"
        for source in records[0]["sources"]
    )
    shared = ", ".join(records[0]["shared_classes"])
    return (
        f"{models}. Sources: {sources}. Folds of a source: 10, by subject. Training images that "
        "show a person of the test images, or are the same picture as one of them, are excluded. "
        f"Macro recall over the classes that all cells test: {shared}. 95% intervals: bootstrap "
        "over subjects. Difference to own folds: in points of accuracy, on the same images."
    )


def describe_model(settings: dict[str, Any]) -> str:
    """The SVM that was trained."""
    return f"{settings['kernels'][0]} SVM, C {settings['C']:g}, scale {settings['scale']}"


if __name__ == "__main__":
    main()
