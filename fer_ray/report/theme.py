"""Colours of the report, light and dark: the page's style sheet and its figures share them."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

from matplotlib.colors import LinearSegmentedColormap, to_rgb


@dataclass(frozen=True)
class Theme:
    """One set of colours, as hex.

    Accent and second are a blue and an orange, which every common colour blindness tells apart;
    text in any of them has a contrast of at least 4.5 to 1 on `card` and on `page`.
    """

    name: str
    page: str  # behind everything
    card: str  # behind a figure or a table
    ink: str
    muted: str
    line: str
    accent: str
    accent_soft: str  # a fill behind ink
    shade: str  # at the edge of what goes on beyond it
    second: str
    middle: str  # of the colour scale, which starts at `card`
    full: str  # its end
    on_full: str  # text on its strong end

    @cached_property
    def scale(self) -> LinearSegmentedColormap:
        """From `card` at 0 to `full` at 1."""
        stops = [(0.0, self.card), (0.55, self.middle), (1.0, self.full)]
        return LinearSegmentedColormap.from_list(f"fer-ray-{self.name}", stops)

    def text_on_scale(self, share: float) -> str:
        """The text colour that stands out best on `scale` at `share`."""
        ground = luminance(self.scale(share)[:3])
        return max(self.ink, self.on_full, key=lambda ink: contrast(luminance(to_rgb(ink)), ground))


def contrast(one: float, other: float) -> float:
    """Contrast ratio of two relative luminances (WCAG 2.2), from 1 to 21."""
    return (max(one, other) + 0.05) / (min(one, other) + 0.05)


def luminance(rgb: Sequence[float]) -> float:
    """Relative luminance (WCAG 2.2) of red, green and blue in 0 … 1."""
    red, green, blue = (c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in rgb)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


LIGHT = Theme(
    name="light",
    page="#f5f6f8",
    card="#ffffff",
    ink="#1a1f26",
    muted="#566070",
    line="#d5dae1",
    accent="#1464a5",
    accent_soft="#e3eef8",
    shade="#b4bcc8",
    second="#b04a06",
    middle="#1464a5",
    full="#062c52",
    on_full="#ffffff",
)
DARK = Theme(
    name="dark",
    page="#101419",
    card="#181d24",
    ink="#e7eaee",
    muted="#a4aebb",
    line="#37404b",
    accent="#74b7f0",
    accent_soft="#1d3348",
    shade="#55616f",
    second="#f2a661",
    middle="#2f6fa3",
    full="#bfe0fb",
    on_full="#0b1620",
)
