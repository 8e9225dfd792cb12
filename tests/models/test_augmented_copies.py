from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from fer_ray.errors import UserError
from fer_ray.evaluation.experiments.samples import Samples, read_samples
from fer_ray.evaluation.protocols.splits import make_splits
from fer_ray.features.geometry import reference
from fer_ray.models.augmented_copies import mirrored_features, training_copies
from fer_ray.models.svm import stratified_folds
from fer_ray.models.svm_trials import run_trial
from fer_ray.schemas import vector
from fer_ray.settings.training import Calibration, TrialSettings

SETTINGS = TrialSettings(augment=3, n_trials=1)


@pytest.fixture
def run_folder(drawn_frames: Path) -> Path:
    """A run folder with landmarks and their reference features."""
    file = drawn_frames / "frames" / "part-0.parquet"
    table = pq.read_table(file)
    rng = np.random.default_rng(8)
    points = rng.uniform(60, 290, (8, 68, 2))[table["label"].to_numpy()]
    points = points + rng.normal(scale=40, size=points.shape)
    for name, values in (("landmarks_xy", points), ("features_reference", reference(points))):
        flat = pa.array(values.astype(np.float32).ravel())
        width = values.reshape(len(values), -1).shape[1]
        column = pa.FixedSizeListArray.from_arrays(flat, type=vector(width))
        if name in table.column_names:
            table = table.drop_columns([name])
        table = table.append_column(name, column)
    pq.write_table(table, file)
    return drawn_frames


@pytest.fixture
def samples(run_folder: Path) -> Samples:
    return read_samples(run_folder / "frames", "reference")


def test_copies_are_reproducible(run_folder: Path, samples: Samples) -> None:
    copies = training_copies(run_folder, samples, SETTINGS)
    assert copies.shape == (3, *samples.features.shape)
    assert np.array_equal(copies, training_copies(run_folder, samples, SETTINGS))
    assert np.abs(copies - samples.features).max() > 1
    sizes = copies.reshape(3, len(samples.labels), -1, 4)[
        ..., 2
    ]  # distances, which rotation preserves
    own = samples.features.reshape(len(samples.labels), -1, 4)[..., 2]
    assert np.median(np.abs(np.sort(sizes, axis=2).mean(axis=2) - own.mean(axis=1))) < 2


@pytest.mark.parametrize("calibration", ["platt", "temperature"])
def test_copies_of_test_images_are_not_used(
    run_folder: Path, samples: Samples, calibration: Calibration
) -> None:
    split = make_splits(SETTINGS, samples.labels, samples.subjects)[0]
    copies = training_copies(run_folder, samples, SETTINGS)
    arguments = ("linear", SETTINGS, calibration, samples, split)
    result = run_trial(*arguments, copies)
    invalid = np.full_like(copies, np.nan)  # training on one of these would fail
    invalid[:, split.train] = copies[:, split.train]
    repeated = run_trial(*arguments, invalid)
    assert np.array_equal(result.probabilities, repeated.probabilities)
    without = run_trial(*arguments)
    assert not np.array_equal(result.probabilities, without.probabilities)
    assert result.figures["n_train"] == without.figures["n_train"] == len(split.train)


def test_copies_share_the_calibration_fold() -> None:
    labels = np.repeat(np.array([1, 3], np.int8), 6)
    folds = stratified_folds(labels, 3, 2)
    for train, test in folds:
        assert not set(train % 12) & set(test % 12)
    assert sorted(row for _, test in folds for row in test) == list(range(36))


@pytest.mark.parametrize("name", ["hog", "hog+landmarks", "mobilenet"])
def test_features_of_pixels_are_refused(name: str, run_folder: Path, samples: Samples) -> None:
    with pytest.raises(UserError, match="features of landmarks only"):
        training_copies(run_folder, samples, SETTINGS.model_copy(update={"feature_set": name}))


def test_mirrored_copy_comes_first(run_folder: Path, samples: Samples) -> None:
    mirror = SETTINGS.model_copy(update={"mirror": True})
    copies = training_copies(run_folder, samples, mirror)
    assert copies is not None
    assert len(copies) == 4
    own = samples.features.reshape(len(samples.labels), 67, 4)
    mirrored = copies[0].reshape(own.shape)
    nose = 29 - 1  # a point on the axis of symmetry; the reference features omit point 0
    np.testing.assert_allclose(mirrored[:, nose, 0], 349 - own[:, nose, 0], rtol=1e-5)
    assert training_copies(run_folder, samples, TrialSettings()) is None


def test_networks_have_no_mirrored_features(samples: Samples) -> None:
    with pytest.raises(UserError, match="cannot be computed for dlib_resnet"):
        mirrored_features("landmarks+dlib_resnet", samples.features, np.ones((96, 68, 2)), 350)
