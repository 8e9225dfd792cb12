"""Soft shadows, folds and wrinkles of the skin, as one plane of darkness."""

from collections.abc import Sequence

import numpy as np

from fer_ray.synthetic.drawing.canvas import HEIGHT_PX, WIDTH_PX, Canvas, Mask, Scene
from fer_ray.synthetic.shapes.curves import SIDES, Plane, catmull_rom

Point = tuple[float, float]
FAINT = 0.004  # a share of light below this is invisible


class Darkness:
    """The sum of many soft shadows, as shares of the light.

    Attributes:
        plane: (HEIGHT_PX, WIDTH_PX).
    """

    def __init__(self, canvas: Canvas) -> None:
        self._canvas = canvas
        self.plane: Plane = np.zeros((HEIGHT_PX, WIDTH_PX), np.float32)

    def add(self, mask: Mask, share: float | Plane) -> None:
        """Add a shadow of any shape."""
        self.plane[mask.window] += share * mask.cover

    def spot(self, centre: Point, spread: Point, share: float) -> None:
        """Add a Gaussian shadow; centre and spread in mm."""
        self.add(self._canvas.blob(centre, spread), share)

    def fold(self, points: Sequence[Point], width: float, blur: float, share: float) -> None:
        """Add a crease through a few points; points, width and blur in mm."""
        if abs(share) > FAINT:
            self.add(self._canvas.stroke(catmull_rom(points, 6), width, blur), share)


def fold_shadows(scene: Scene) -> Plane:
    """Shares of the light that folds absorb, (HEIGHT_PX, WIDTH_PX)."""
    dark = Darkness(scene.canvas)
    for side in SIDES:
        _around_eye(scene, dark, side)
        _nose_side(scene, dark, side)
        _mouth_corner(scene, dark, side)
        _frown(scene, dark, side)
    _forehead(scene, dark)
    _below_nose(scene, dark)
    _chin(scene, dark)
    return dark.plane


def _lined(scene: Scene) -> float:
    return 0.5 + 0.7 * scene.subject.head.age


def _around_eye(scene: Scene, dark: Darkness, side: int) -> None:
    unit, lined = scene.expression, _lined(scene)
    eye_x, eye_y = scene.face.eyes[side].centre
    out = abs(eye_x)
    # The shadow below the brow rises with it, like the socket.
    lift = 4.0 * unit[1]
    dark.spot((side * (out - 11), eye_y - 3 - lift), (7, 6 + 0.3 * lift), 0.13)
    dark.spot((eye_x, eye_y - 5 - lift), (14, 4 + 0.3 * lift), 0.09)
    dark.spot((eye_x, eye_y + 8), (12, 4), 0.08)
    bag = [(-13.0, 7.0), (-3, 11 - 2 * unit[6]), (9, 9.5 - 2 * unit[6])]
    below = [(side * (out + x), eye_y + y) for x, y in bag]
    dark.fold(below, 2.6, 1, 0.08 * lined + 0.16 * unit[6] + 0.1 * unit[7] + 0.1 * unit[9])
    for y, length in ((-2.5, 8), (1, 9), (4.5, 8)):  # crow's feet
        start, end = side * (out + 19), side * (out + 19 + length)
        feet = [(start, eye_y + 0.6 * y), (end, eye_y + 1.6 * y)]
        dark.fold(feet, 1.3, 0.5, 0.16 * unit[6] * lined if unit[6] > 0.1 else 0)


def _nose_side(scene: Scene, dark: Darkness, side: int) -> None:
    unit, nose = scene.expression, scene.face.nose
    x, y = nose.wing_x, nose.wing_y
    wing = [(x - 2.5, y - 5.5), (x + 0.8, y - 2), (x + 0.3, y + 2.6), (x - 3.5, y + 4.4)]
    dark.fold([(side * px, py) for px, py in wing], 2, 0.7, 0.30)
    nostril_x, nostril_y = side * x * 0.42, nose.base_y - 2.2 - 1.4 * unit[9]
    rim = [(-3.2, 0.4), (0, -1.7), (3.2, 0.2), (0, 1.5)]
    hole = [(nostril_x + px, nostril_y + py) for px, py in rim]
    dark.add(scene.canvas.polygon(catmull_rom(hole, 6, closed=True), 0.45), 0.62)
    for y in (3, 8, 13):  # bunny lines, AU9
        bunny = [(side * 3.0, y - 1.0), (side * 8.0, y + 2.0), (side * 11.0, y + 6.0)]
        dark.fold(bunny, 1.4, 0.5, 0.2 * unit[9] if unit[9] > 0.1 else 0)


def _mouth_corner(scene: Scene, dark: Darkness, side: int) -> None:
    unit, nose = scene.expression, scene.face.nose
    smile, dimple = unit.smile(side), unit.on(side, 14)
    corner_x, y = scene.face.mouth.corners[side]
    x = abs(corner_x)
    share = 0.07 * _lined(scene) + 0.2 * smile + 0.2 * unit[9] + 0.22 * unit[10]
    share += 0.06 * dimple + 0.03 * unit[6] + 0.08 * unit[20]
    nasolabial = [
        (nose.wing_x + 1, nose.wing_y - 2.5),
        (nose.wing_x + 6 + 2 * smile, nose.wing_y + 5),
        (x + 4 + 1.5 * smile, y - 9),
        (x + 5, y + 1),
    ]
    dark.fold([(side * px, py) for px, py in nasolabial], 4, 1.3, share)
    pit = 0.10 + 0.22 * dimple + 0.08 * smile + 0.10 * unit[15]
    dark.spot((side * (x + 1.6), y + 0.3), (2.6, 2.6 + 2 * dimple), pit)
    crease = [(side * (x + 4), y - 6), (side * (x + 5.6), y), (side * (x + 4.2), y + 6)]
    dark.fold(crease, 2, 0.8, 0.3 * dimple if dimple > 0.1 else 0)
    marionette = [(side * (x + 1), y), (side * (x + 3.2), y + 6), (side * (x + 2.4), y + 12)]
    dark.fold(marionette, 2.2, 0.9, 0.22 * unit[15] if unit[15] > 0.1 else 0)


def _frown(scene: Scene, dark: Darkness, side: int) -> None:
    unit = scene.expression
    lowered = 3 * unit[4]
    glabella = [(side * 4.6, lowered - 28), (side * 4.0, lowered - 20), (side * 5.4, lowered - 13)]
    dark.fold(glabella, 1.6, 0.5, (0.35 * unit[4] + 0.15 * unit[9]) * _lined(scene))


def _forehead(scene: Scene, dark: Darkness) -> None:
    unit = scene.expression
    raised = 0.5 * (unit[1] + unit[2])
    if raised <= 0.1:
        return
    # AU2 wrinkles the entire forehead, AU1 alone only its middle, with lines that bend upwards.
    half, sag = (34.0, 1.5) if unit[2] > 0.3 else (15.0, -1.0)
    for y in (-54.0, -47.0, -41.0):
        line = [
            (-half, y + 2),
            (-half / 2, y - 1),
            (0.0, y + sag),
            (half / 2, y - 1),
            (half, y + 2),
        ]
        dark.fold(line, 1.5, 0.6, 0.2 * raised * _lined(scene))


def _below_nose(scene: Scene, dark: Darkness) -> None:
    nose, mouth = scene.face.nose, scene.face.mouth
    lip_top = mouth.point(0, mouth.upper_edge)[1]
    dark.spot((0, nose.base_y + 1.8), (9, 2.4), 0.22)
    upper_lip_height = max(5.0, 0.45 * (lip_top - nose.base_y))
    dark.spot((0, (nose.base_y + lip_top) / 2 + 1), (15, upper_lip_height), 0.15)


def _chin(scene: Scene, dark: Darkness) -> None:
    raised, mouth = scene.expression[17], scene.face.mouth
    lip_base = mouth.point(0, mouth.lower_edge)[1]
    dark.spot((0, lip_base + 3), (13, 2.6), 0.14)
    if raised <= 0.1:
        return
    dimpled = scene.canvas.blob((0, scene.face.chin_y - 14), (11, 7))
    dark.add(dimpled, raised * 0.1 * np.clip(scene.texture(9, 1.6)[dimpled.window], 0, 2))
    sulcus = [(-13.0, lip_base + 7.5), (0.0, lip_base + 3.6), (13.0, lip_base + 7.5)]
    dark.fold(sulcus, 2, 0.8, 0.22 * raised)
