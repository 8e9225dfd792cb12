"""Training of heads on augmented images: features computed once, or recomputed in every epoch.

    python -m benchmarks.augmented --out RUN --weights FILE [--backbone mobilenet]

The run folder contains frames whose images still exist; it is not changed. The reference study
passes each augmented image, and the validation images, through the frozen network in every epoch of
every training run. One such run is timed in a separate process that has all CPUs; the time of
others is computed from their number of epochs. Both methods use the same draws and must give the
same losses. The number of epochs of a search and of trainings with early stopping depends on the
weights, so ten trainings without early stopping are timed as well.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
from numpy.typing import NDArray

from benchmarks.report import Table, write_result
from fer_ray.evaluation.experiments.samples import Samples, read_samples
from fer_ray.evaluation.protocols.splits import Split, make_splits
from fer_ray.execution.cluster.session import ray_closed_after
from fer_ray.execution.progress import silent
from fer_ray.faces.crops import recrop
from fer_ray.features.bottleneck_features import read_augmented_features
from fer_ray.networks.bottleneck import augmentation
from fer_ray.networks.bottleneck.bottleneck_plan import BottleneckPlan, plan_bottleneck
from fer_ray.networks.heads.head import History, train_head
from fer_ray.networks.heads.head_data import Floats, head_data, validation_split
from fer_ray.networks.heads.head_space import head_settings
from fer_ray.networks.network import Backbone
from fer_ray.pipelines.extraction.bottleneck import run_bottleneck
from fer_ray.pipelines.training.search_heads import run_head_search
from fer_ray.settings.extraction import Decode
from fer_ray.settings.networks import HEADS, Augmentation, HeadSearchSettings
from fer_ray.settings.root import Execution, Settings
from fer_ray.settings.training import TrialSettings
from fer_ray.storage.run_folder import RunFolder, frames_record
from fer_ray.vocabulary import Origin

TRAININGS = 10
EARLY_STOPPED = HEADS["augmented"]
HEAD = EARLY_STOPPED.model_copy(update={"stop_patience": None})
SEARCH = Settings(
    trials=TrialSettings(n_trials=1),
    head_search=HeadSearchSettings(configurations=TRAININGS, draws=HEAD.draws),
)


class RecomputedFeatures:
    """Training data that is passed through the network on each access, as in the reference study.

    It has the interface of `HeadData`.
    """

    def __init__(
        self, network: Backbone, crops: NDArray[np.uint8], image_ids: list[str],
        labels: NDArray[np.int8], inner: Split,
    ) -> None:  # fmt: skip
        self._network, self._crops, self._ids, self._inner = network, crops, image_ids, inner
        self.labels = labels[inner.train]
        self.validation_labels = labels[inner.test]
        self.one_hot = np.eye(8, dtype=np.float32)[self.labels]

    @property
    def validation(self) -> Floats:
        """Features of the validation images, recomputed on each access."""
        return self._network(self._crops[self._inner.test])

    def of_epoch(self, epoch: int) -> "_Epoch":
        """The fitted images of one epoch; indexing computes their features."""
        return _Epoch(self._network, self._crops, self._ids, self._inner.train, epoch)


class _Epoch:
    def __init__(
        self, network: Backbone, crops: NDArray[np.uint8], image_ids: list[str],
        rows: NDArray[np.int64], epoch: int,
    ) -> None:  # fmt: skip
        self._network, self._crops, self._ids = network, crops, image_ids
        self._rows, self._epoch = rows, epoch
        self.shape = (len(rows), network.spec.width)

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, indices: NDArray[np.int64]) -> Floats:
        augmented = [
            augmentation.apply_to_crop(
                augmentation.draw(Augmentation(), self._ids[row], self._epoch), self._crops[row]
            )
            for row in self._rows[indices]
        ]
        return self._network(np.stack(augmented))


def cut_crops(out: Path, root: Path, samples: Samples) -> NDArray[np.uint8]:
    """Cut the crops (n, 350, 350) of the samples from their images."""
    columns = ["image_id", "path", "sha256", "box_xywh"]
    rows = pq.read_table(out / "frames", columns=columns).to_pylist()
    by_id = {row["image_id"]: row for row in rows}
    return np.stack([recrop(by_id[name], root, Decode(), 350) for name in samples.image_ids])


def main() -> None:
    """Time both methods, check that they agree, and write the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True, help="a run folder with frames")
    parser.add_argument("--backbone", default="mobilenet")
    parser.add_argument("--weights", required=True)
    parser.add_argument("--recompute-only", action="store_true",
                        help="time the reference study's method alone, and print JSON")  # fmt: skip
    options = parser.parse_args()
    record = frames_record(options.out)
    root = Path(record["data"]["root"])
    samples = read_samples(options.out / "frames", "geometry")
    split = make_splits(SEARCH.trials, samples.labels, samples.subjects)[0]
    inner = validation_split(samples, split.train, "random", 0.2, 0, 0)
    fitted = frozenset(samples.image_ids[row] for row in inner.train)
    plan = plan_bottleneck(
        record, options.backbone, options.weights, draws=HEAD.draws, drawn_ids=fitted
    )
    if plan.weights.origin is Origin.UNTRAINED:
        raise SystemExit(f"{options.weights} contains untrained weights. Pass trained weights.")
    if options.recompute_only:
        print(json.dumps(time_recomputed(options.out, root, plan, samples, inner)))
        return
    command = [sys.executable, "-m", "benchmarks.augmented", *sys.argv[1:], "--recompute-only"]
    study = json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout)
    stored = time_stored(options.out, root, plan, samples, inner)
    if not np.allclose(stored.losses, study["losses"], rtol=1e-3):
        raise SystemExit(f"The losses differ: {stored.losses}, {study['losses']}.")
    epoch = study["seconds"] / HEAD.epochs
    protocol = (
        f"{len(samples.labels)} images. A training fits {len(inner.train)}, with {HEAD.draws} "
        f"stored draws each, and validates on {len(inner.test)}. {os.cpu_count()} CPUs for each "
        "method. Stored features: computing them, with the start of Ray, then the heads; the "
        "search includes retraining its finalists with other seeds, and the test. Reference "
        f"study's method: {epoch:.1f} s per epoch, the mean of one training of {HEAD.epochs}. Both "
        f"methods give the same losses. Weights: {plan.weights.origin.value}; no accuracy is "
        "measured here."
    )
    table = comparison_table(options.backbone, stored, epoch)
    write_result(f"augmented-{options.backbone}", protocol, table)


def time_recomputed(
    out: Path, root: Path, plan: BottleneckPlan, samples: Samples, inner: Split
) -> dict[str, Any]:
    """Time one training in seconds, and return its losses too."""
    network = Backbone(plan.name, plan.weights.file)
    crops = cut_crops(out, root, samples)
    network(crops[:32])  # traces it, and gives TensorFlow all CPUs before the head requests one
    data = RecomputedFeatures(network, crops, samples.image_ids, samples.labels, inner)
    started = time.perf_counter()
    history = train_head(HEAD, data, 0).history  # type: ignore[arg-type]
    return {"seconds": time.perf_counter() - started, "losses": _losses(history)}


@dataclass(frozen=True)
class StoredTimes:
    """Durations in seconds with stored features.

    Attributes:
        features: Computing plain and augmented features.
        trainings: `TRAININGS` trainings without early stopping.
        stopped: `TRAININGS` trainings with early stopping.
        stopped_epochs: Their epochs.
        search: A search of `TRAININGS` configurations.
        searched_epochs: Its epochs.
        losses: Training loss by epoch of the first training.
    """

    features: float
    trainings: float
    stopped: float
    stopped_epochs: int
    search: float
    searched_epochs: int
    losses: list[float]


def time_stored(
    out: Path, root: Path, plan: BottleneckPlan, samples: Samples, inner: Split
) -> StoredTimes:
    """Compute both tables of features once, and run all trainings on them."""
    with tempfile.TemporaryDirectory() as scratch, ray_closed_after():
        copy = Path(scratch)
        shutil.copytree(out / "frames", copy / "frames")
        shutil.copy(out / "extract.json", copy)
        plain = plan_bottleneck(frames_record(copy), plan.name, plan.weights_source)
        marks = [time.perf_counter()]
        for features in (plain, plan):
            run_bottleneck(copy, root, features, Execution(), silent)
        marks.append(time.perf_counter())
        computed = read_samples(copy / "frames", plan.name)
        draws = read_augmented_features(copy, plan.name, samples.image_ids, plan.draws)
        data = head_data(computed, draws, inner)
        full = [train_head(HEAD, data, seed) for seed in range(TRAININGS)]
        marks.append(time.perf_counter())
        stopped = [train_head(EARLY_STOPPED, data, seed) for seed in range(TRAININGS)]
        marks.append(time.perf_counter())
        card = run_head_search(copy, plan.name, SEARCH, silent)
        marks.append(time.perf_counter())
        file = RunFolder(copy).head_candidates(card["experiment"])
        candidates = json.loads(file.read_text())["trials"]["0"]
    retrained = [head_settings(head["configuration"]).epochs for head in card["finalists"]]
    epochs = sum(candidate["epochs"] for candidate in candidates)
    epochs += SEARCH.head_search.repeats * sum(retrained)
    features_s, trainings_s, stopped_s, search_s = np.diff(marks).tolist()
    return StoredTimes(
        features_s, trainings_s, stopped_s, sum(len(head.history) for head in stopped), search_s,
        epochs, _losses(full[0].history),
    )  # fmt: skip


def comparison_table(backbone: str, stored: StoredTimes, epoch: float) -> Table:
    """Durations of both methods; `epoch` is that of one epoch of the reference study's method."""
    table = Table(f"heads on augmented {backbone}", "epochs", "reference study's method, s",
                  "stored features, s", "ratio")  # fmt: skip
    for name, epochs, seconds in (
        (f"{TRAININGS} trainings without early stopping", TRAININGS * HEAD.epochs,
         stored.trainings),
        (f"{TRAININGS} trainings with early stopping", stored.stopped_epochs, stored.stopped),
        (f"a search of {TRAININGS} configurations", stored.searched_epochs, stored.search),
    ):  # fmt: skip
        recomputed, total = epochs * epoch, stored.features + seconds
        table.add(name, f"{epochs}", f"{recomputed:.0f}",
                  f"{stored.features:.0f} + {seconds:.0f}",
                  f"**{recomputed / total:.1f}**")  # fmt: skip
    return table


def _losses(history: History) -> list[float]:
    return [epoch["train_loss"] for epoch in history]


if __name__ == "__main__":
    main()
