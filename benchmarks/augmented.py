"""Head trainings on augmented images: features computed once, against images passed every time.

    python -m benchmarks.augmented --out RUN_FOLDER --weights FILE [--backbone mobilenet]

The run folder holds extracted frames of images that are still there; nothing in it is changed. The
study's way passes each drawn image, and the validation images, through the frozen network in every
epoch of every training; one training of it is timed, in a process of its own that has all
processors, and what others would take is counted by their epochs. Both ways use the same draws and
must give the same losses. How many epochs trainings have that stop early, and those of a search,
depends on the weights; so ten trainings to the end stand beside them.
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
from fer_ray.evaluation.samples import Samples, read_samples
from fer_ray.evaluation.splits import Split, make_splits
from fer_ray.execution.progress import silent
from fer_ray.execution.session import ray_closed_after
from fer_ray.faces.crops import cut
from fer_ray.features.bottleneck_features import read_draws
from fer_ray.networks import augmentation
from fer_ray.networks.bottleneck_plan import Bottleneck, plan_bottleneck
from fer_ray.networks.head import History, train_head
from fer_ray.networks.head_data import Floats, head_data, validation_split
from fer_ray.networks.head_space import head_settings
from fer_ray.networks.network import Backbone
from fer_ray.pipelines.bottleneck import run_bottleneck
from fer_ray.pipelines.search_heads import run_head_search
from fer_ray.settings.networks import HEADS, Augmentation, HeadSearchSettings
from fer_ray.settings.root import Execution, Settings
from fer_ray.settings.training import TrialSettings
from fer_ray.sources.decoding import read_gray
from fer_ray.storage.run_folder import RunFolder, frames_record
from fer_ray.vocabulary import Origin

TRAININGS = 10
STOPPED = HEADS["augmented"]
HEAD = STOPPED.model_copy(update={"stop_patience": None})
SEARCH = Settings(
    trials=TrialSettings(n_trials=1),
    head_search=HeadSearchSettings(configurations=TRAININGS, draws=HEAD.draws),
)


class PassedEachTime:
    """Training data in the study's way: what is asked for goes through the network then and there.

    It stands in for `HeadData`.
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
        """Features of the validation images, computed anew."""
        return self._network(self._crops[self._inner.test])

    def of_epoch(self, epoch: int) -> "_Epoch":
        """The fitted images in one epoch, not computed yet."""
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

    def __getitem__(self, chosen: NDArray[np.int64]) -> Floats:
        drawn = [
            augmentation.apply_to_crop(
                augmentation.draw(Augmentation(), self._ids[row], self._epoch), self._crops[row]
            )
            for row in self._rows[chosen]
        ]
        return self._network(np.stack(drawn))


def crops_of(out: Path, root: Path, samples: Samples) -> NDArray[np.uint8]:
    """The crops (n, 350, 350) of the samples."""
    rows = pq.read_table(out / "frames", columns=["image_id", "path", "box_xywh"]).to_pylist()
    by_id = {row["image_id"]: row for row in rows}
    found = (by_id[name] for name in samples.image_ids)
    return np.stack([cut(read_gray(root / row["path"]), row["box_xywh"]) for row in found])


def main() -> None:
    """Time both, make sure that they agree, keep the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True, help="A run folder with frames.")
    parser.add_argument("--backbone", default="mobilenet")
    parser.add_argument("--weights", required=True)
    parser.add_argument("--studys-way", action="store_true", help="That alone, as JSON.")
    options = parser.parse_args()
    record = frames_record(options.out)
    root = Path(record["data"]["root"])
    samples = read_samples(options.out / "frames", "geometry")
    split = make_splits(SEARCH.trials, samples.labels, samples.subjects)[0]
    inner = validation_split(samples, split.train, "random", 0.2, 0, 0)
    fitted = frozenset(samples.image_ids[row] for row in inner.train)
    wanted = plan_bottleneck(
        record, options.backbone, options.weights, draws=HEAD.draws, drawn=fitted
    )
    if wanted.weights.origin is Origin.UNTRAINED:
        raise SystemExit(f"{options.weights} was never trained: no heads are trained on it.")
    if options.studys_way:
        print(json.dumps(passed_each_time(options.out, root, wanted, samples, inner)))
        return
    command = [sys.executable, "-m", "benchmarks.augmented", *sys.argv[1:], "--studys-way"]
    study = json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout)
    kept = features_once(options.out, root, wanted, samples, inner)
    if not np.allclose(kept.losses, study["losses"], rtol=1e-3):
        raise SystemExit(f"the two do not agree: {kept.losses}, {study['losses']}")
    epoch = study["seconds"] / HEAD.epochs
    table = Table(f"heads on augmented {options.backbone}", "epochs", "the study's way, s",
                  "features kept, s", "ratio")  # fmt: skip
    for name, epochs, seconds in (
        (f"{TRAININGS} trainings to the end", TRAININGS * HEAD.epochs, kept.trainings),
        (f"{TRAININGS} trainings, stopped early", kept.stopped_epochs, kept.stopped),
        (f"a search of {TRAININGS} configurations", kept.searched_epochs, kept.search),
    ):
        theirs, ours = epochs * epoch, kept.features + seconds
        table.add(name, f"{epochs}", f"{theirs:.0f}", f"{kept.features:.0f} + {seconds:.0f}",
                  f"**{theirs / ours:.1f}**")  # fmt: skip
    write_result(
        f"augmented-{options.backbone}",
        f"{len(samples.labels)} images; a training fits {len(inner.train)}, of which {HEAD.draws} "
        f"draws each are kept for all trainings, and validates {len(inner.test)}; "
        f"{os.cpu_count()} processors for each way. Ours: the features, Ray's start included, then "
        "the heads; the search with its races, its finalists trained again with other seeds, and "
        f"their test. The study's: {epoch:.1f} s an epoch, the mean of one training of "
        f"{HEAD.epochs}. Both ways give the same losses. "
        f"Weights: {wanted.weights.origin.value}; no accuracy is measured here.",
        table,
    )


def passed_each_time(
    out: Path, root: Path, wanted: Bottleneck, samples: Samples, inner: Split
) -> dict[str, Any]:
    """Seconds of one training, and its losses."""
    network = Backbone(wanted.name, wanted.weights.file)
    crops = crops_of(out, root, samples)
    network(crops[:32])  # traced, and TensorFlow has all processors before the head asks for one
    data = PassedEachTime(network, crops, samples.image_ids, samples.labels, inner)
    started = time.perf_counter()
    history = train_head(HEAD, data, 0).history  # type: ignore[arg-type]
    return {"seconds": time.perf_counter() - started, "losses": _losses(history)}


@dataclass(frozen=True)
class Kept:
    """Seconds of each part, epochs, and the losses of the first training."""

    features: float
    trainings: float
    stopped: float
    stopped_epochs: int
    search: float
    searched_epochs: int
    losses: list[float]


def features_once(
    out: Path, root: Path, wanted: Bottleneck, samples: Samples, inner: Split
) -> Kept:
    """Both tables of features, and all trainings on them."""
    with tempfile.TemporaryDirectory() as scratch, ray_closed_after():
        copy = Path(scratch)
        shutil.copytree(out / "frames", copy / "frames")
        shutil.copy(out / "extract.json", copy)
        plain = plan_bottleneck(frames_record(copy), wanted.name, wanted.asked)
        marks = [time.perf_counter()]
        for one in (plain, wanted):
            run_bottleneck(copy, root, one, Execution(), silent)
        marks.append(time.perf_counter())
        computed = read_samples(copy / "frames", wanted.name)
        draws = read_draws(copy, wanted.name, samples.image_ids, wanted.draws)
        data = head_data(computed, draws, inner)
        whole = [train_head(HEAD, data, seed) for seed in range(TRAININGS)]
        marks.append(time.perf_counter())
        stopped = [train_head(STOPPED, data, seed) for seed in range(TRAININGS)]
        marks.append(time.perf_counter())
        card = run_head_search(copy, wanted.name, SEARCH, silent)
        marks.append(time.perf_counter())
        file = RunFolder(copy).head_candidates(card["experiment"])
        raced = json.loads(file.read_text())["trials"]["0"]
    again = [head_settings(one["configuration"]).epochs for one in card["finalists"]]
    epochs = sum(one["epochs"] for one in raced) + SEARCH.head_search.repeats * sum(again)
    features, trainings, early, search = np.diff(marks).tolist()
    return Kept(
        features, trainings, early, sum(len(one.history) for one in stopped), search, epochs,
        _losses(whole[0].history),
    )  # fmt: skip


def _losses(history: History) -> list[float]:
    return [epoch["train_loss"] for epoch in history]


if __name__ == "__main__":
    main()
