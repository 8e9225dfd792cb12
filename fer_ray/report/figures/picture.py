"""A figure in both themes, as PNG for the folder and as data for the page."""

import base64
from collections.abc import Callable
from dataclasses import dataclass
from io import BytesIO
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from PIL import Image

from fer_ray.report.theme import DARK, LIGHT, Theme

# Figures are drawn about as wide as a phone, so that their text is as large as the page's there.
WIDTH_IN = 4.0
CSS_PX_PER_IN = 96
DPI = 220
COLOURS = 192  # of the palette: flat figures lose nothing and weigh a third


@dataclass(frozen=True)
class Picture:
    """One figure of the report.

    Attributes:
        name: File name without its ending.
        alt: What a reader who does not see it must know.
        light: PNG bytes on a light ground, also the file beside the page.
        dark: PNG bytes on a dark ground.
        width: Natural width on the page, CSS pixels.
        height: Likewise.
        wide: The same figure for wide screens; None: it has no other there.
    """

    name: str
    alt: str
    light: bytes
    dark: bytes
    width: int
    height: int
    wide: "Picture | None" = None

    @property
    def light_uri(self) -> str:
        """The light figure as a data: URI."""
        return data_uri(self.light)

    @property
    def dark_uri(self) -> str:
        """The dark figure as a data: URI."""
        return data_uri(self.dark)


def picture(name: str, alt: str, draw: Callable[[Theme], Figure]) -> Picture:
    """Draw one figure in both themes."""
    figure = draw(LIGHT)
    width, height = (round(CSS_PX_PER_IN * inches) for inches in figure.get_size_inches())
    return Picture(name, alt, _png(figure), _png(draw(DARK)), width, height)


def canvas(theme: Theme, height_in: float, width_in: float = WIDTH_IN) -> Figure:
    """An empty figure on the theme's card."""
    layout = ConstrainedLayoutEngine(w_pad=0.08, h_pad=0.08)
    return Figure(figsize=(width_in, height_in), dpi=DPI, facecolor=theme.card, layout=layout)


def bare_axes(axes: Axes, theme: Theme) -> Axes:
    """Axes without a frame or ticks, in the theme's colours."""
    axes.set_facecolor(theme.card)
    axes.spines[:].set_visible(False)
    axes.tick_params(length=0, colors=theme.muted, labelcolor=theme.ink, labelsize=10)
    return axes


def data_uri(png: bytes) -> str:
    """PNG bytes as a data: URI."""
    return "data:image/png;base64," + base64.b64encode(png).decode("ascii")


def _png(figure: Figure) -> bytes:
    agg: Any = FigureCanvasAgg(figure)  # matplotlib leaves it untyped
    agg.draw()
    image = Image.fromarray(np.asarray(agg.buffer_rgba())).convert("RGB")
    packed = BytesIO()
    image.quantize(COLOURS, dither=Image.Dither.NONE).save(packed, format="PNG", optimize=True)
    return packed.getvalue()
