import pytest
from matplotlib.colors import to_rgb

from fer_ray.report.theme import DARK, LIGHT, contrast, luminance


def ratio(one, other):
    return contrast(luminance(to_rgb(one)), luminance(to_rgb(other)))


@pytest.mark.parametrize("theme", [LIGHT, DARK], ids=lambda theme: theme.name)
@pytest.mark.parametrize("colour", ["ink", "muted", "accent", "second"])
@pytest.mark.parametrize("ground", ["card", "page"])
def test_text_stands_out_on_every_ground(theme, colour, ground):
    assert ratio(getattr(theme, colour), getattr(theme, ground)) >= 4.5


@pytest.mark.parametrize("theme", [LIGHT, DARK], ids=lambda theme: theme.name)
@pytest.mark.parametrize("share", [step / 20 for step in range(21)])
def test_numbers_stand_out_on_every_cell_of_a_confusion_matrix(theme, share):
    assert ratio(theme.text_on_scale(share), theme.scale(share)) >= 4


@pytest.mark.parametrize("theme", [LIGHT, DARK], ids=lambda theme: theme.name)
def test_ink_stands_out_on_the_soft_fill(theme):
    assert ratio(theme.ink, theme.accent_soft) >= 7
