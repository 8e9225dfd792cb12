"""Whether a run can split its images is known before the extraction."""

from pathlib import Path

import pytest

from fer_ray.errors import UserError
from fer_ray.pipelines.training.require_splits import require_splits, subjects_known
from fer_ray.settings.extraction import Selection
from fer_ray.settings.root import Settings
from fer_ray.sources.datasets.listing import Listing, list_source


def listing(root: Path, happy: int, sad: int) -> Listing:
    for emotion, number in (("happy", happy), ("sad", sad)):
        (root / emotion).mkdir()
        for image in range(number):
            (root / emotion / f"{image}.png").touch()
    return list_source(root, Selection())


@pytest.mark.parametrize(
    ("happy", "sad", "trials", "problem"),
    [
        (20, 0, {}, "two or more classes"),
        (4, 4, {}, "Too few labelled images"),
        (20, 20, {"protocol": "subject-10fold"}, "40 have none"),
        (20, 20, {"protocol": "official"}, "train"),
    ],
)
def test_impossible_splits_are_rejected(
    tmp_path: Path, happy: int, sad: int, trials: dict[str, str], problem: str
) -> None:
    settings = Settings.model_validate({"trials": trials})
    with pytest.raises(UserError, match=problem):
        require_splits(listing(tmp_path, happy, sad), settings)


def test_recommended_folds_need_subjects(tmp_path: Path) -> None:
    settings, photos = Settings(recommended=True), listing(tmp_path, 20, 20)
    require_splits(photos, settings)
    known = subjects_known(photos.summary)
    assert [trials.protocol for trials in settings.protocol_settings(known)] == ["random"]
    assert len(settings.protocol_settings()) == 2
