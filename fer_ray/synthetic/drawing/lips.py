"""Lips, teeth and the inside of the mouth."""

import numpy as np

from fer_ray.synthetic.drawing.canvas import Mask, Scene, darken, paint
from fer_ray.synthetic.shapes.curves import Plane, bump
from fer_ray.synthetic.shapes.mouth_outline import ALONG

PARTED = 0.8  # mm of opening above which the inside is visible
CLOSED_SEAM = 2.0  # mm of opening below which the seam is a single dark line
CAVITY = 0.085  # reflectance
ENAMEL = 0.78
TOOTH_WIDTH = 8.2
SEAM_DARKNESS = 0.74


def draw_mouth(skin: Plane, light: Plane, scene: Scene) -> None:
    """Draw the mouth on the lit skin (HEIGHT_PX, WIDTH_PX); `light` is the light on the head."""
    mouth, canvas = scene.face.mouth, scene.canvas
    tone = scene.subject.mouth.lip_tone
    upper = canvas.polygon(mouth.between(mouth.upper_edge, mouth.upper_inner), 0.55)
    lower = canvas.polygon(mouth.between(mouth.lower_inner, mouth.lower_edge), 0.60)
    darken(skin, upper, 1 - 0.8 * tone)
    darken(skin, lower, 1 - tone)
    fullest = mouth.point(0, (mouth.lower_inner + mouth.lower_edge) / 2)[1]
    gleam = canvas.blob((0, fullest - 0.6), (11, 2))
    skin[gleam.window] += 0.05 * gleam.cover
    if mouth.opening > PARTED:
        _draw_gap(skin, light, scene)
    closed = mouth.opening < CLOSED_SEAM
    seam = 0.75 * mouth.upper_inner + 0.25 * mouth.lower_inner if closed else mouth.upper_inner
    line = canvas.stroke(np.stack([mouth.x, seam], axis=1), 1.9 if closed else 1.2, 0.4)
    darken(skin, line, SEAM_DARKNESS if closed else 0.5)


def _draw_gap(skin: Plane, light: Plane, scene: Scene) -> None:
    mouth = scene.face.mouth
    gap = scene.canvas.polygon(mouth.between(mouth.upper_inner, mouth.lower_inner), 0.25)
    x, y = scene.canvas.x[gap.window], scene.canvas.y[gap.window]
    inside = np.full(x.shape, CAVITY, np.float32)
    if mouth.opening > 9:
        tongue = bump(x, y, (0, mouth.point(0, mouth.lower_inner)[1] - 1.5), (13, 5))
        inside += 0.15 * tongue
    teeth = _teeth(scene, gap)
    inside += (_enamel(scene, x, light[gap.window]) - inside) * teeth
    lip_y = mouth.point(0, mouth.upper_inner)[1]
    inside *= 1 - 0.35 * np.exp(-0.5 * ((y - lip_y) / 1.4) ** 2)
    paint(skin, gap, inside)


def _teeth(scene: Scene, gap: Mask) -> Plane:
    """Coverage of the upper teeth within the gap's window; a dropped jaw shades them."""
    mouth = scene.face.mouth
    length = min(8.0, 0.7 * mouth.opening + 0.6)
    length -= max(0.0, min(5.5, 0.5 * (mouth.opening - 9)))
    edge = mouth.upper_inner + length * (1 - np.abs(ALONG) ** 3)
    row = np.vstack(
        [
            np.stack([0.84 * mouth.x, mouth.upper_inner - 0.5], axis=1),
            np.stack([0.84 * mouth.x, edge], axis=1)[::-1],
        ]
    )
    rows, columns = gap.window
    mask = scene.canvas.polygon(row, 0.35)
    plane = np.zeros_like(scene.canvas.x)
    plane[mask.window] = mask.cover
    return plane[rows, columns] * (1 - 0.35 * min(1.0, scene.expression[27]))


def _enamel(scene: Scene, x: Plane, light: Plane) -> Plane:
    receding = np.clip(ENAMEL - 0.18 * np.abs(x / 22) ** 1.5, 0.2, 1)
    between = np.mod(x + TOOTH_WIDTH / 2, TOOTH_WIDTH) - TOOTH_WIDTH / 2
    gaps = 1 - 0.16 * np.exp(-((between / 0.5) ** 2))
    enamel: Plane = receding * gaps * (0.75 + 0.25 * light)
    return enamel
