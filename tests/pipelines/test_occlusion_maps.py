"""The test images that an occlusion map is averaged over."""

import pandas as pd
import pytest

from fer_ray.errors import UserError
from fer_ray.pipelines.audit.occlusion_maps import MAX_IMAGES, choose_images


def predictions(*rows: tuple[str, int, int, int]) -> pd.DataFrame:
    return pd.DataFrame(rows, columns=["image_id", "trial", "label", "predicted"])


def test_images_of_several_trials_in_turns() -> None:
    table = predictions(
        ("a", 0, 1, 1), ("a", 1, 1, 1), ("b", 0, 1, 5), ("b", 1, 1, 1), ("c", 0, 5, 5),
        ("d", 2, 5, 5), ("e", 0, 5, 1),
    )  # fmt: skip
    chosen = choose_images(table, trials=[0, 1])
    assert {(image.image_id, image.trial) for image in chosen} == {("a", 0), ("b", 1), ("c", 0)}
    assert [(image.turn, image.label) for image in chosen] == [(0, 1), (0, 5), (1, 1)]
    with pytest.raises(UserError, match="none of its test images"):
        choose_images(table, trials=[7])


def test_each_beginning_is_spread_over_the_images() -> None:
    names = [f"{number:04}" for number in range(500)]
    chosen = choose_images(predictions(*((name, 0, 3, 3) for name in names)), trials=[0])
    numbers = [int(image.image_id) for image in chosen]
    assert len(set(numbers)) == MAX_IMAGES
    assert (min(numbers), max(numbers)) == (0, 499)
    assert max(numbers[:6]) - min(numbers[:6]) > 250
