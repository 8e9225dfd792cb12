import pytest
from matplotlib.colors import to_rgb

from fer_ray.report.theme import DARK, LIGHT, contrast, luminance


def ratio(first, second):
    return contrast(luminance(to_rgb(first)), luminance(to_rgb(second)))


@pytest.mark.parametrize("theme", [LIGHT, DARK], ids=lambda theme: theme.name)
@pytest.mark.parametrize("colour", ["ink", "muted", "accent", "second"])
@pytest.mark.parametrize("ground", ["card", "page"])
def test_text_contrast(theme, colour, ground):
    assert ratio(getattr(theme, colour), getattr(theme, ground)) >= 4.5


@pytest.mark.parametrize("theme", [LIGHT, DARK], ids=lambda theme: theme.name)
@pytest.mark.parametrize("share", [step / 20 for step in range(21)])
def test_confusion_cell_contrast(theme, share):
    assert ratio(theme.text_on_scale(share), theme.scale(share)) >= 4


@pytest.mark.parametrize("theme", [LIGHT, DARK], ids=lambda theme: theme.name)
def test_soft_fill_contrast(theme):
    assert ratio(theme.ink, theme.accent_soft) >= 7
