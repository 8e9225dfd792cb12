"""What does bfloat16 cost a backbone's features? The same trials on both, on the same folds.

    python -m benchmarks.precision --out RUN --backbone mobilenet --weights FILE [--foldings 8]

RUN is a run folder with frames of labelled images that are still there. Give trained weights:
accuracies on others mean nothing.
"""

import argparse
from dataclasses import replace
from pathlib import Path

import numpy as np

from benchmarks.augmented import crops_of
from benchmarks.report import Table, write_result
from benchmarks.unions import folded
from fer_ray.evaluation.samples import Samples, read_samples
from fer_ray.networks.network import Backbone
from fer_ray.networks.weights import find_weights
from fer_ray.settings.backbones import BACKBONES
from fer_ray.settings.training import TrialSettings
from fer_ray.storage.run_folder import frames_record
from fer_ray.vocabulary import Origin

HALF = "in bfloat16"


def main() -> None:
    """Compute both, train on both, keep the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--backbone", required=True)
    parser.add_argument("--weights")
    parser.add_argument("--foldings", type=int, default=8)
    options = parser.parse_args()
    root = Path(frames_record(options.out)["data"]["root"])
    samples = read_samples(options.out / "frames", "geometry")
    crops = crops_of(options.out, root, samples)
    spec = BACKBONES[options.backbone]
    weights = find_weights(spec, options.weights)
    if weights.origin == Origin.UNTRAINED:
        parser.error(f"{weights.file} holds weights that were never trained.")
    BACKBONES[HALF] = replace(spec, name=HALF, precision="bfloat16")
    whole, half = (Backbone(name, weights.file)(crops) for name in (spec.name, HALF))
    settings = TrialSettings.model_validate({"scale": "standard", "C": 0.01})
    table = Table("features", "accuracy ± sd over foldings", "macro F1")
    found = {}
    for name, features in (("float32", whole), ("bfloat16", half)):
        taken = Samples(samples.image_ids, samples.subjects, samples.labels,
                        features.astype(np.float64))  # fmt: skip
        found[name] = np.array([folded(taken, settings, seed) for seed in range(options.foldings)])
        accuracy, f1 = found[name].T
        spread = f"{accuracy.mean():.3f} ± {accuracy.std(ddof=1):.3f}"
        table.add(name, spread, f"{f1.mean():.3f}")
    gained = (found["bfloat16"] - found["float32"])[:, 0]
    table.add("difference, folding by folding", f"{gained.mean():+.3f} ± {gained.std(ddof=1):.3f}",
              "")  # fmt: skip
    off = np.linalg.norm(half - whole) / np.linalg.norm(whole)
    subjects = len(set(samples.subjects))
    protocol = (
        f"{options.backbone} with weights: {weights.origin}, SHA-256 {weights.sha256[:12]}…; "
        f"{root.name}: {len(samples.labels)} images of {subjects} people. The features differ by "
        f"{off:.2%} (norm of the difference over norm). Linear SVM, C = 0.01, standardised: means "
        f"over {options.foldings} random foldings of the subjects into 10, the same for each row."
    )
    write_result(f"precision-{options.backbone}", protocol, table)


if __name__ == "__main__":
    main()
