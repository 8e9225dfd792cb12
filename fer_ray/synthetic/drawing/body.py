"""Background, neck, shoulders and clothes."""

import numpy as np

from fer_ray.synthetic.drawing.canvas import Scene, darken, paint
from fer_ray.synthetic.shapes.curves import (
    SIDES,
    Plane,
    Points,
    catmull_rom,
    mirrored,
    shifted_down,
    smooth_step,
)

NECK_SHADE = 0.70  # the head shades the neck
SHOULDER_Y = 137.0  # where the neck meets the clothes
NECKLINE_DEPTH = {"crew_neck": 13.0, "v_neck": 36.0, "collar": 40.0}


def draw_background(scene: Scene) -> Plane:
    """A studio wall (HEIGHT_PX, WIDTH_PX) in slightly uneven light."""
    falloff = 1 - 0.10 * ((scene.canvas.y + 40) / 200) ** 2
    sideways = 1 + 0.0012 * scene.subject.studio.light_x * scene.canvas.x
    wall = scene.subject.studio.background * falloff * sideways + 0.015 * scene.texture(1, 60)
    return np.asarray(wall, np.float32)


def draw_body(image: Plane, scene: Scene) -> None:
    """Draw neck and clothes, over the hair behind the neck."""
    neck = _neck_half_width(scene)
    _draw_neck(image, scene, neck)
    _draw_garment(image, scene, neck)


def _neck_half_width(scene: Scene) -> float:
    # Of the face at rest: the neck does not narrow when the jaw drops.
    head = scene.subject.head
    return 64.5 * head.width * float(np.sqrt(head.jaw_width)) * head.neck_width


def _draw_neck(image: Plane, scene: Scene, neck: float) -> None:
    right = [(neck, 50), (neck * 0.98, 100), (neck + 3, 124), (neck + 22, 144), (neck + 60, 160)]
    mask = scene.canvas.polygon(mirrored(np.vstack([catmull_rom(right), [(neck + 60, 330)]])), 0.8)
    x, y = scene.canvas.x[mask.window], scene.canvas.y[mask.window]
    rounding = np.clip(1 - 0.34 * np.abs(x / (neck + 6)) ** 2.4, 0.45, 1)
    below_chin = smooth_step(y, scene.face.chin_y + 2, scene.face.chin_y + 34)
    paint(image, mask, scene.subject.skin * NECK_SHADE * rounding * (0.78 + 0.22 * below_chin))
    for side in SIDES:
        tendon = [(side * neck * 0.72, 84), (side * neck * 0.42, 118), (side * 7, 152)]
        darken(image, scene.canvas.stroke(catmull_rom(tendon), 5, 2.2), 0.07)
    darken(image, scene.canvas.blob((0, 150), (7, 5)), 0.08)


def _neckline(scene: Scene, neck: float) -> Points:
    """Right half of the neckline, from the shoulder to the middle."""
    depth = NECKLINE_DEPTH[scene.subject.studio.garment]
    top = (neck + 9, SHOULDER_Y)
    if scene.subject.studio.garment == "crew_neck":
        knots = [top, (neck * 0.8, SHOULDER_Y + 0.62 * depth), (0, SHOULDER_Y + depth)]
    else:
        knots = [top, (neck * 0.55, SHOULDER_Y + 0.5 * depth), (0, SHOULDER_Y + depth)]
    return catmull_rom(knots)


def _draw_garment(image: Plane, scene: Scene, neck: float) -> None:
    neckline = _neckline(scene, neck)
    shoulder = [(neck + 9, SHOULDER_Y), (neck + 34, 147), (125, 160), (172, 177), (204, 212)]
    right = np.vstack([neckline[::-1], catmull_rom(shoulder), [(214, 340), (0, 340)]])
    cloth = scene.subject.studio.cloth
    for side in SIDES:
        mask = scene.canvas.polygon(right * [side, 1], 0.5)
        x, y = scene.canvas.x[mask.window], scene.canvas.y[mask.window]
        drape = 0.05 * scene.texture(2, 5, 16)[mask.window]
        rounding = 1 - 0.28 * smooth_step(np.abs(x), 110, 205) - 0.1 * smooth_step(y, 150, 190)
        paint(image, mask, cloth * (0.9 + drape) * rounding)
        _draw_edge(image, scene, neckline * [side, 1], neck)


def _draw_edge(image: Plane, scene: Scene, neckline: Points, neck: float) -> None:
    """Draw the shadow and seam of a neckline, or one flap of a collar."""
    canvas, cloth = scene.canvas, scene.subject.studio.cloth
    if scene.subject.studio.garment != "collar":
        darken(image, canvas.stroke(shifted_down(neckline, -1.5), 3, 1.2), 0.25)
        darken(image, canvas.stroke(shifted_down(neckline, 4), 1.0, 0.4), 0.22)
        return
    side = np.sign(neckline[0, 0])
    knots = [(neck + 4, SHOULDER_Y - 12), (neck + 20, SHOULDER_Y + 6), (neck + 2, 176), (4, 178)]
    flap = np.vstack([np.array(knots) * [side, 1], neckline[::-1]])
    darken(image, canvas.polygon(shifted_down(flap, 3), 2.0), 0.35)
    paint(image, canvas.polygon(flap, 0.5), min(1.0, cloth * 1.12 + 0.03))
