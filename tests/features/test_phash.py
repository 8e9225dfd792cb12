import cv2
import numpy as np
import pytest

from fer_ray.features.phash import dhash
from fer_ray.learn.leakage import NEAR_DUPLICATE_BITS

RNG = np.random.default_rng(3)
# Smooth, as faces are: noise of 8 × 8 cells, blown up.
PICTURE, OTHER = (
    cv2.resize(
        RNG.integers(20, 220, (8, 8), dtype=np.uint8), (350, 350), interpolation=cv2.INTER_CUBIC
    )
    for _ in range(2)
)


def bits_apart(first: np.ndarray, second: np.ndarray) -> int:
    return (dhash(first) ^ dhash(second)).bit_count()


def test_a_bit_tells_whether_brightness_grows_to_the_right() -> None:
    rising = np.tile(np.arange(0, 180, 20, dtype=np.uint8), (8, 1))
    assert dhash(rising) == 2**64 - 1
    assert dhash(rising[:, ::-1].copy()) == 0
    rising[1:] = 7  # only the first row rises: the eight highest bits
    assert dhash(rising) == 0xFF << 56


@pytest.mark.parametrize(
    "copy",
    [
        cv2.imdecode(cv2.imencode(".jpg", PICTURE, [1, 50])[1], cv2.IMREAD_GRAYSCALE),
        cv2.resize(PICTURE, (175, 175), interpolation=cv2.INTER_AREA),
        (PICTURE * 0.9 + 20).astype(np.uint8),
    ],
    ids=["saved as JPEG", "halved", "brightened"],
)
def test_a_copy_is_a_near_duplicate_and_another_picture_is_not(copy: np.ndarray) -> None:
    assert bits_apart(PICTURE, copy) <= NEAR_DUPLICATE_BITS < bits_apart(PICTURE, OTHER)
