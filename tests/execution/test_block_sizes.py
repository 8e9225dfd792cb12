"""Sizes of blocks."""

from fer_ray.execution.tasks.block_sizes import LEAST_BLOCK_IMAGES, next_size


def test_blocks_are_small_at_both_ends() -> None:
    sizes, images = list[int](), 1000
    while (done := sum(sizes)) < images:
        sizes.append(min(next_size(100, done, images - done, workers=2), images - done))
    assert sizes[:2] == [LEAST_BLOCK_IMAGES] * 2
    assert sizes[2] == max(sizes) == 100
    assert sizes[2:] == sorted(sizes[2:], reverse=True)
    assert sizes[-1] <= 25
