"""Accuracy on the features of a backbone in float32 and in bfloat16, on the same folds.

    python -m benchmarks.precision --out RUN --backbone mobilenet --weights FILE [--foldings 8]

RUN is a run folder with frames of labelled images that still exist. Pass trained weights:
accuracies on the features of untrained weights are meaningless.
"""

import argparse
from dataclasses import replace
from pathlib import Path

import numpy as np

from benchmarks.augmented import cut_crops
from benchmarks.report import Table, write_result
from benchmarks.unions import cross_validate, format_spread
from fer_ray.evaluation.experiments.samples import Samples, read_samples
from fer_ray.networks.network import Backbone
from fer_ray.networks.weights import find_weights
from fer_ray.settings.backbones import BACKBONES
from fer_ray.settings.training import TrialSettings
from fer_ray.storage.run_folder import frames_record
from fer_ray.vocabulary import Origin

BFLOAT16 = "in bfloat16"  # name of the temporary backbone


def main() -> None:
    """Compute both kinds of features, train on them, and write the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--backbone", required=True)
    parser.add_argument("--weights")
    parser.add_argument("--foldings", type=int, default=8)
    options = parser.parse_args()
    root = Path(frames_record(options.out)["data"]["root"])
    samples = read_samples(options.out / "frames", "geometry")
    crops = cut_crops(options.out, root, samples)
    spec = BACKBONES[options.backbone]
    weights = find_weights(spec, options.weights)
    if weights.origin == Origin.UNTRAINED:
        parser.error(f"{weights.file} contains untrained weights. Pass trained weights.")
    BACKBONES[BFLOAT16] = replace(spec, name=BFLOAT16, precision="bfloat16")
    float32, bfloat16 = (Backbone(name, weights.file)(crops) for name in (spec.name, BFLOAT16))
    settings = TrialSettings.model_validate({"scale": "standard", "C": 0.01})
    table = Table("features", "accuracy ± sd over foldings", "macro F1")
    accuracies = {}
    for name, features in (("float32", float32), ("bfloat16", bfloat16)):
        data = Samples(
            samples.image_ids, samples.subjects, samples.labels, features.astype(np.float64)
        )
        figures = np.array(
            [cross_validate(data, settings, seed) for seed in range(options.foldings)]
        )
        accuracies[name], f1 = figures.T
        table.add(name, format_spread(accuracies[name]), f"{f1.mean():.3f}")
    gain = accuracies["bfloat16"] - accuracies["float32"]
    table.add("difference per folding", f"{gain.mean():+.3f} ± {gain.std(ddof=1):.3f}", "")
    difference = np.linalg.norm(bfloat16 - float32) / np.linalg.norm(float32)
    subjects = len(set(samples.subjects))
    protocol = (
        f"{options.backbone} with weights: {weights.origin}, SHA-256 {weights.sha256[:12]}…; "
        f"{root.name}: {len(samples.labels)} images of {subjects} people. The features differ by "
        f"{difference:.2%} (norm of the difference over norm). Linear SVM, C = 0.01, standardised: "
        f"means over {options.foldings} random foldings of the subjects into 10, the same for each "
        "row."
    )
    write_result(f"precision-{options.backbone}", protocol, table)


if __name__ == "__main__":
    main()
