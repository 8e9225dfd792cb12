"""Features computed once, compared with images passed through the network in every epoch."""

from pathlib import Path

import numpy as np
import pytest

from benchmarks.augmented import RecomputedFeatures
from fer_ray.evaluation.experiments.samples import Samples
from fer_ray.evaluation.protocols.splits import Split
from fer_ray.networks.bottleneck import augmentation
from fer_ray.networks.heads.head import train_head
from fer_ray.networks.heads.head_data import head_data
from fer_ray.networks.network import Backbone
from fer_ray.settings.networks import Augmentation, HeadSettings

HEAD = HeadSettings(
    epochs=4, batch_size=4, draws=4, steps_per_epoch=2, reduce_lr_patience=5, stop_patience=3
)


@pytest.mark.slow
def test_precomputed_draws_give_the_same_loss_curve(trained_mobilenet: Path) -> None:
    rng = np.random.default_rng(6)
    crops = rng.integers(0, 256, (15, 350, 350)).astype(np.uint8)
    ids = [f"I{number}" for number in range(15)]
    labels = rng.integers(0, 8, 15).astype(np.int8)
    inner = Split(np.arange(11), np.arange(11, 15))
    network = Backbone("mobilenet", trained_mobilenet, threads=1)
    draws = np.stack(
        [
            network(
                np.stack(
                    [
                        augmentation.apply_to_crop(
                            augmentation.draw(Augmentation(), name, number), crop
                        )
                        for name, crop in zip(ids, crops, strict=True)
                    ]
                )
            )
            for number in range(HEAD.draws)
        ]
    )
    samples = Samples(ids, [None] * 15, labels, network(crops).astype(np.float64))
    once = train_head(HEAD, head_data(samples, draws, inner), seed=4).history
    each = RecomputedFeatures(network, crops, ids, labels, inner)
    passed = train_head(HEAD, each, seed=4).history
    for name in ("train_loss", "validation_loss"):
        curves = [[epoch[name] for epoch in history] for history in (once, passed)]
        np.testing.assert_allclose(*curves, rtol=1e-4)
    assert len({epoch["train_loss"] for epoch in once}) == len(once)


def test_augmented_head_validates_on_plain_images() -> None:
    labels = np.arange(6, dtype=np.int8)
    plain = np.arange(6.0)[:, None]
    samples = Samples([str(row) for row in range(6)], [None] * 6, labels, plain)
    draws = np.stack([plain + 100, plain + 200]).astype(np.float32)
    data = head_data(samples, draws, Split(np.array([4, 1]), np.array([0, 5])))
    assert data.validation.ravel().tolist() == [0, 5]
    assert data.of_epoch(0).ravel().tolist() == [104, 101]
    assert data.of_epoch(3).ravel().tolist() == [204, 201]
