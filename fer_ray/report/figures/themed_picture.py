"""A figure in the light and the dark theme, as PNG files and as data: URIs."""

import base64
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from io import BytesIO
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from PIL import Image

from fer_ray.report.theme import DARK, LIGHT, Theme

# About the width of a phone, so that text in figures is as large as the text of the page.
WIDTH_IN = 4.0
CSS_PX_PER_IN = 96
DPI = 220


@dataclass(frozen=True)
class Picture:
    """One figure of the report.

    Attributes:
        name: File name without extension.
        alt: Text alternative.
        light: PNG bytes in the light theme, also written next to the page.
        dark: PNG bytes in the dark theme.
        width: Natural width on the page in CSS pixels.
        height: Natural height on the page in CSS pixels.
        wide: A version of the figure for wide screens, if it has one.
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


def draw_picture(name: str, alt: str, draw: Callable[[Theme], Figure]) -> Picture:
    """Draw a figure in both themes, independently of the user's `matplotlibrc`."""
    with _own_style():
        figure = draw(LIGHT)
        width, height = (round(CSS_PX_PER_IN * inches) for inches in figure.get_size_inches())
        return Picture(name, alt, _to_png(figure), _to_png(draw(DARK)), width, height)


def draw_png(draw: Callable[[Theme], Figure]) -> bytes:
    """Draw a figure in the light theme as PNG, for a file that the page does not embed."""
    with _own_style():
        return _to_png(draw(LIGHT))


@contextmanager
def _own_style() -> Iterator[None]:
    """Ignore the user's `matplotlibrc` inside the block."""
    with matplotlib.rc_context():
        matplotlib.rcdefaults()
        yield


def new_figure(theme: Theme, height_in: float, width_in: float = WIDTH_IN) -> Figure:
    """Create an empty figure with the theme's background."""
    layout = ConstrainedLayoutEngine(w_pad=0.08, h_pad=0.08)
    return Figure(figsize=(width_in, height_in), dpi=DPI, facecolor=theme.card, layout=layout)


def style_axes(axes: Axes, theme: Theme) -> Axes:
    """Remove frame and tick marks, and apply the theme's colours."""
    axes.set_facecolor(theme.card)
    axes.spines[:].set_visible(False)
    axes.tick_params(length=0, colors=theme.muted, labelcolor=theme.ink, labelsize=10)
    return axes


def data_uri(png: bytes) -> str:
    """PNG bytes as a data: URI."""
    return "data:image/png;base64," + base64.b64encode(png).decode("ascii")


def _to_png(figure: Figure) -> bytes:
    agg: Any = FigureCanvasAgg(figure)  # matplotlib leaves it untyped
    agg.draw()
    image = Image.fromarray(np.asarray(agg.buffer_rgba())).convert("RGB")
    packed = BytesIO()
    # With a palette, flat figures look the same at a third of the size.
    flat = image.quantize(method=Image.Quantize.FASTOCTREE, dither=Image.Dither.NONE)
    flat.save(packed, format="PNG")
    return packed.getvalue()
