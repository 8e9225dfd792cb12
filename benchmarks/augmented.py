"""Head trainings on augmented images: features computed once, against images passed every time.

    python -m benchmarks.augmented --out RUN_FOLDER --weights FILE [--backbone mobilenet]

The run folder holds extracted frames of images that are still there; nothing in it is changed. The
study's way passes each drawn image, and the validation images, through the frozen network in every
epoch of every training; one training of it is timed and counted ten times. Both ways use the same
draws and must give the same losses. All ten epochs are run: when a training stops early depends on
the weights, and the study's way then costs less.
"""

import argparse
import os
import shutil
import tempfile
import time
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
from numpy.typing import NDArray

from benchmarks.report import Table, write_result
from fer_ray.config import Execution
from fer_ray.data.decode import read_gray
from fer_ray.deep import augment
from fer_ray.deep.bottleneck import Bottleneck, plan_bottleneck
from fer_ray.deep.head import HeadTraining, train_head
from fer_ray.deep.head_data import Floats, head_data, validation_split
from fer_ray.deep.job import run_bottleneck
from fer_ray.deep.network import Backbone
from fer_ray.deep.settings import HEADS, Augmentation
from fer_ray.deep.tables import read_draws
from fer_ray.experiments import frames_record
from fer_ray.features.crop import cut
from fer_ray.learn.samples import Samples, read_samples
from fer_ray.learn.settings import TrialSettings
from fer_ray.learn.splits import Split, make_splits
from fer_ray.progress import silent
from fer_ray.runtime import ray_closed_after

TRAININGS = 10
HEAD = HEADS["augmented"].model_copy(update={"stop_patience": None})


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
            augment.apply_to_crop(
                augment.draw(Augmentation(), self._ids[row], self._epoch), self._crops[row]
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
    options = parser.parse_args()
    record = frames_record(options.out)
    root = Path(record["data"]["root"])
    samples = read_samples(options.out / "frames", "geometry")
    settings = TrialSettings(n_trials=1)
    split = make_splits(settings, samples.labels, samples.subjects)[0]
    inner = validation_split(samples, split.train, "random", 0.2, 0, 0)
    fitted = frozenset(samples.image_ids[row] for row in inner.train)
    wanted = plan_bottleneck(
        record, options.backbone, options.weights, draws=HEAD.draws, drawn=fitted
    )

    once, kept = features_once(options.out, root, wanted, samples, inner)
    network = Backbone(options.backbone, wanted.weights.file)
    crops = crops_of(options.out, root, samples)
    network(crops[:32])  # traced
    started = time.perf_counter()
    data = PassedEachTime(network, crops, samples.image_ids, samples.labels, inner)
    passed = train_head(HEAD, data, 0).history  # type: ignore[arg-type]
    each = time.perf_counter() - started
    ours, theirs = ([epoch["train_loss"] for epoch in one] for one in (kept, passed))
    if not np.allclose(ours, theirs, rtol=1e-3):
        raise SystemExit(f"the two do not agree: {ours}, {theirs}")
    table = Table(f"{TRAININGS} trainings of a head on {options.backbone}", "seconds")
    table.add("the study's way: one training, counted ten times", f"{TRAININGS * each:.1f}")
    table.add("features once (Ray's start included), then ten trainings", f"{once:.1f}")
    table.add("ratio", f"**{TRAININGS * each / once:.1f}**")
    write_result(
        f"augmented-{options.backbone}",
        f"{len(samples.labels)} images; a training fits {len(inner.train)}, of which {HEAD.draws} "
        f"draws each are kept for all trainings, and validates {len(inner.test)}, {len(kept)} "
        f"epochs (no early stop) of at most 8 steps of 32; {os.cpu_count()} processors. "
        "Both ways give the same losses. "
        f"Weights: {wanted.weights.origin.value}; no accuracy is measured here.",
        table,
    )


def features_once(
    out: Path, root: Path, wanted: Bottleneck, samples: Samples, inner: Split
) -> tuple[float, list[dict[str, float]]]:
    """Seconds of both tables and ten trainings, and the history of the first."""
    with tempfile.TemporaryDirectory() as scratch, ray_closed_after():
        copy = Path(scratch)
        shutil.copytree(out / "frames", copy / "frames")
        shutil.copy(out / "extract.json", copy)
        plain = plan_bottleneck(frames_record(copy), wanted.name, wanted.asked)
        started = time.perf_counter()
        for one in (plain, wanted):
            run_bottleneck(copy, root, one, Execution(), silent)
        computed = read_samples(copy / "frames", wanted.name)
        draws = read_draws(copy, wanted.name, samples.image_ids, wanted.draws)
        data = head_data(computed, draws, inner)
        heads: list[HeadTraining] = [train_head(HEAD, data, seed) for seed in range(TRAININGS)]
        return time.perf_counter() - started, heads[0].history


if __name__ == "__main__":
    main()
