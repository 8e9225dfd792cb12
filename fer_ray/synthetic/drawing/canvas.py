"""The canvas: masks of polygons, strokes and blobs in millimetres, and painting through them.

Each shape is rasterised only within its bounding box, which renders a frame six times faster than
masks of the full image. A `Scene` is the input of every drawing step.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, NamedTuple

import cv2
import numpy as np

from fer_ray.synthetic.shapes.action_units import Expression
from fer_ray.synthetic.shapes.curves import Plane, Points, bump, ribbon
from fer_ray.synthetic.shapes.face_outline import FaceShape
from fer_ray.synthetic.shapes.subject import Subject

WIDTH_PX, HEIGHT_PX = 640, 490
SUBPIXEL_BITS = 4  # fixed-point fraction of OpenCV's drawing functions
STRAND_BLUR_PX = 0.5


class Mask(NamedTuple):
    """Coverage of a shape, from 0 to 1, within a window of the image."""

    window: tuple[slice, slice]  # rows, columns
    cover: Plane


class Pose(NamedTuple):
    """Position of the midpoint of the pupils in the image, scale and rotation."""

    scale_px: float  # px per mm
    centre_px: tuple[float, float]
    roll_deg: float


class Canvas:
    """Converts face coordinates (mm) to image coordinates (px), and rasterises shapes."""

    def __init__(self, pose: Pose) -> None:
        self.scale = pose.scale_px
        angle = np.deg2rad(pose.roll_deg)
        cos, sin = pose.scale_px * np.cos(angle), pose.scale_px * np.sin(angle)
        self._to_px = np.array([[cos, -sin, pose.centre_px[0]], [sin, cos, pose.centre_px[1]]])
        back = cv2.invertAffineTransform(self._to_px).astype(np.float32)
        column = np.arange(WIDTH_PX, dtype=np.float32)[None]
        row = np.arange(HEIGHT_PX, dtype=np.float32)[:, None]
        self.x: Plane = back[0, 0] * column + back[0, 1] * row + back[0, 2]
        self.y: Plane = back[1, 0] * column + back[1, 1] * row + back[1, 2]

    def to_px(self, points: Any) -> Points:
        """Convert face coordinates (n, 2) to image coordinates (n, 2)."""
        return np.asarray(np.asarray(points, float) @ self._to_px[:, :2].T + self._to_px[:, 2])

    def polygon(self, points: Any, blur: float = 0.0) -> Mask:
        """A filled polygon with its edge blurred by a Gaussian of `blur` mm."""
        corners, sigma = self.to_px(points), blur * self.scale
        window = _window(corners, int(3 * sigma) + 2)
        cover = _empty(window)
        cv2.fillPoly(cover, [_fixed_point(corners, window)], 255, cv2.LINE_AA, SUBPIXEL_BITS)
        return Mask(window, _blurred(cover, sigma))

    def stroke(self, path: Any, width: float, blur: float = 0.0) -> Mask:
        """A line that is `width` mm wide in the middle and tapers towards both ends."""
        path = np.asarray(path, float)
        along = np.clip(np.linspace(0, 1, len(path)), 0.03, 0.97)
        return self.polygon(ribbon(path, width / 2 * np.sin(np.pi * along) ** 0.6), blur)

    def blob(self, centre: Sequence[float], spread: Sequence[float]) -> Mask:
        """A Gaussian spot with standard deviations `spread` (x, y) in mm."""
        signs = np.array([(-1, -1), (1, -1), (1, 1), (-1, 1)])
        corners = np.asarray(centre, float) + 3 * signs * np.asarray(spread, float)
        window = _window(self.to_px(corners), 1)
        return Mask(window, bump(self.x[window], self.y[window], centre, spread))

    def strands(self, paths: Points, tones: Any, window: tuple[slice, slice]) -> Plane:
        """Thin lines on a mid-gray background (0.5) within `window`.

        Args:
            paths: (n, points, 2), mm.
            tones: (n,) gray values from 0 to 1.
            window: Rows and columns of the image.
        """
        background = _empty(window)
        background[:] = 128
        grays = np.clip(255 * np.asarray(tones), 0, 255).tolist()
        for line, gray in zip(_fixed_point(self.to_px(paths), window), grays, strict=True):
            cv2.polylines(background, [line], False, gray, 1, cv2.LINE_AA, SUBPIXEL_BITS)
        return _blurred(background, STRAND_BLUR_PX)


@dataclass(frozen=True)
class Scene:
    """One frame to render."""

    subject: Subject
    expression: Expression
    face: FaceShape
    canvas: Canvas

    def texture(self, key: int, sigma_x: float, sigma_y: float | None = None) -> Plane:
        """Noise that is fixed for the subject, see `_texture`; grain in px."""
        return _texture(self.subject.seed, key, sigma_x, sigma_x if sigma_y is None else sigma_y)


def paint(image: Plane, mask: Mask, tone: float | Plane) -> None:
    """Paint `image` with `tone`, a number or an array of the mask's window."""
    image[mask.window] += (tone - image[mask.window]) * mask.cover


def darken(image: Plane, mask: Mask, share: float) -> None:
    """Reduce the light under the mask by `share`."""
    image[mask.window] *= 1 - share * mask.cover


@lru_cache(maxsize=16)
def _texture(seed: tuple[int, int], key: int, sigma_x: float, sigma_y: float) -> Plane:
    """Smoothed noise (HEIGHT_PX, WIDTH_PX) with mean 0 and standard deviation 1.

    Coarse grain is generated at a small size and enlarged. The result is cached, because all frames
    of a subject share it.

    Args:
        seed: Seed of the subject.
        key: Distinguishes the textures of a subject.
        sigma_x: Horizontal size of the grain in px.
        sigma_y: Vertical size of the grain in px.
    """
    step = max(1, int(min(sigma_x, sigma_y) / 2))
    rng = np.random.default_rng([*seed, key])
    noise = rng.standard_normal((HEIGHT_PX // step + 1, WIDTH_PX // step + 1), dtype=np.float32)
    noise = cv2.GaussianBlur(noise, (0, 0), sigmaX=sigma_x / step, sigmaY=sigma_y / step)
    noise = cv2.resize(noise, (WIDTH_PX, HEIGHT_PX), interpolation=cv2.INTER_CUBIC)
    plane: Plane = (noise - noise.mean()) / noise.std()
    plane.flags.writeable = False
    return plane


def _window(corners: Points, margin: int) -> tuple[slice, slice]:
    limits = np.array([WIDTH_PX, HEIGHT_PX])
    low = np.clip(np.floor(corners.min(axis=0)).astype(int) - margin, 0, limits - 1)
    high = np.clip(np.ceil(corners.max(axis=0)).astype(int) + margin + 1, low + 1, limits)
    return slice(int(low[1]), int(high[1])), slice(int(low[0]), int(high[0]))


def _empty(window: tuple[slice, slice]) -> Any:
    rows, columns = window
    return np.zeros((rows.stop - rows.start, columns.stop - columns.start), np.uint8)


def _fixed_point(corners: Points, window: tuple[slice, slice]) -> Any:
    origin = [window[1].start, window[0].start]
    return np.round((corners - origin) * 2**SUBPIXEL_BITS).astype(np.int32)


def _blurred(gray: Any, sigma_px: float) -> Plane:
    plane: Plane = gray.astype(np.float32) / 255
    return cv2.GaussianBlur(plane, (0, 0), sigma_px) if sigma_px else plane
