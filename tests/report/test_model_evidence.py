"""What a linear model relies on, computed from known features."""

import numpy as np
import pytest

from fer_ray.features.appearance import hog
from fer_ray.models.linear_evidence import linear_evidence
from fer_ray.report.sections.model_evidence import sum_by_cell
from fer_ray.settings.training import TrialSettings
from tests.report.conftest import mean_landmarks_xy


@pytest.mark.parametrize("n_classes", [2, 4])
def test_evidence_points_to_the_informative_feature(n_classes):
    rng = np.random.default_rng(0)
    labels = np.arange(40 * n_classes, dtype=np.int8) % n_classes
    features = rng.normal(0, 1, (len(labels), 12))
    features[np.arange(len(labels)), labels] += 6  # feature k identifies class k
    settings = TrialSettings(scale="standard", feature_set="landmarks")
    codes, evidence, n = linear_evidence(settings, features, labels)
    assert codes == list(range(n_classes))
    assert n == len(labels)
    informative, noise = evidence[codes, codes], evidence[:, n_classes:]
    assert (informative > 5 * np.abs(noise).max()).all()


def test_hog_values_are_summed_where_the_edges_are():
    crop = np.zeros((350, 350), np.uint8)
    crop[200:, :] = 255  # one horizontal edge below the eyes
    points = mean_landmarks_xy()[None]
    cells = sum_by_cell(hog(points, [crop])[0])
    assert cells.shape == (8, 8)
    rows = cells.sum(axis=1)
    assert rows[np.argsort(rows)[-2:]].sum() > 0.9 * rows.sum()
    turned = sum_by_cell(hog(points, [np.ascontiguousarray(crop.T)])[0])
    columns = turned.sum(axis=0)
    assert columns[np.argsort(columns)[-2:]].sum() > 0.9 * columns.sum()
