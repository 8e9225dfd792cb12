"""The light and the dark theme of the report, shared by style sheet and figures."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

from matplotlib.colors import LinearSegmentedColormap, to_hex, to_rgb

SHADES = 10  # of cells in tables, from 0 to this number


@dataclass(frozen=True)
class Theme:
    """A set of colours, as hex.

    `accent` and `second` are a blue and an orange that stay distinct under the common kinds of
    colour blindness. Text in `ink`, `muted`, `accent` and `second` has a contrast of at least 4.5
    to 1 on `card` and on `page`.
    """

    name: str
    page: str  # background of the page
    card: str  # background of figures and tables
    ink: str
    muted: str
    line: str
    accent: str
    accent_soft: str  # background of highlighted text
    shade: str  # shadow at the edge of a table that scrolls
    second: str
    middle: str  # middle of the colour scale, which starts at `card`
    full: str  # end of the colour scale
    on_full: str  # text on `full`

    @cached_property
    def scale(self) -> LinearSegmentedColormap:
        """The colour scale, from `card` at 0 to `full` at 1."""
        stops = [(0.0, self.card), (0.55, self.middle), (1.0, self.full)]
        return LinearSegmentedColormap.from_list(f"fer-ray-{self.name}", stops)

    def text_on_scale(self, share: float) -> str:
        """The text colour with the highest contrast on `scale` at `share`."""
        background = luminance(self.scale(share)[:3])
        return max(
            self.ink,
            self.on_full,
            key=lambda colour: contrast(luminance(to_rgb(colour)), background),
        )

    @cached_property
    def shades(self) -> list[tuple[str, str]]:
        """The background and the text colour of each shade, from 0 to `SHADES`."""
        shares = [shade / SHADES for shade in range(SHADES + 1)]
        return [(to_hex(self.scale(share)), self.text_on_scale(share)) for share in shares]


def contrast(first: float, second: float) -> float:
    """Contrast ratio of two relative luminances (WCAG 2.2), from 1 to 21."""
    return (max(first, second) + 0.05) / (min(first, second) + 0.05)


def luminance(rgb: Sequence[float]) -> float:
    """Relative luminance (WCAG 2.2) of red, green and blue from 0 to 1."""
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
