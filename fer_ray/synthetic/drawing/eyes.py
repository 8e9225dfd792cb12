"""Eyeballs, lids and brows."""

import numpy as np

from fer_ray.synthetic.drawing.canvas import Scene, darken, paint
from fer_ray.synthetic.shapes.curves import SIDES, Plane, bump, catmull_rom, normals, ribbon
from fer_ray.synthetic.shapes.face_outline import LID_POSITIONS

PUPIL_RADIUS = 2.3
SCLERA = 0.74  # reflectance
BROW_HAIRS = 70
BROW_TO_SKIN = 0.42  # maximum tone of brows relative to the skin; dlib does not find brighter ones


def draw_eyes(skin: Plane, scene: Scene) -> None:
    """Draw both eyes on the lit skin (HEIGHT_PX, WIDTH_PX)."""
    for side in SIDES:
        _draw_ball(skin, scene, side)
        _draw_lids(skin, scene, side)


def draw_brows(skin: Plane, light: Plane, scene: Scene) -> None:
    """Draw both brows on the lit skin; `light` is the light on the head."""
    for side in SIDES:
        _draw_brow(skin, light, scene, side)


def _draw_ball(skin: Plane, scene: Scene, side: int) -> None:
    eye, traits = scene.face.eyes[side], scene.subject.eyes
    opening = scene.canvas.polygon(eye.outline(), 0.25)
    x, y = scene.canvas.x[opening.window], scene.canvas.y[opening.window]
    radius = np.hypot(x - eye.centre[0], y - eye.centre[1])
    lid_y = np.interp((side * x).ravel(), np.abs(eye.x), eye.upper).reshape(x.shape)
    below_lid = np.clip((y - lid_y) / 2.3, 0, None)
    lid_shadow = np.exp(-(below_lid**1.5))

    sclera = SCLERA * (0.65 + 0.39 * scene.subject.skin) * (1 - 0.4 * lid_shadow)
    sclera *= np.clip(1 - 0.25 * np.abs((x - eye.centre[0]) / 15) ** 2, 0.5, 1)
    rim = np.exp(-(((radius - traits.iris_radius) / 0.7) ** 2))
    iris = traits.iris_tone * (1 + 0.35 * radius / traits.iris_radius)
    iris *= (1 - 0.55 * rim) * (1 - 0.35 * lid_shadow)

    in_iris = _disc(radius, traits.iris_radius, 1.2 * scene.canvas.scale)
    in_pupil = _disc(radius, PUPIL_RADIUS, 1.4 * scene.canvas.scale)
    ball = sclera * (1 - in_iris) + iris * in_iris
    ball = ball * (1 - in_pupil) + 0.03 * in_pupil
    towards_lamp = 2.0 if scene.subject.studio.light_x >= 0 else -2.0
    glint = bump(x, y, (eye.centre[0] + towards_lamp, eye.centre[1] - 2), (0.9, 0.9))
    paint(skin, opening, (ball * (1 - 0.85 * glint) + 0.85 * glint).astype(np.float32))


def _disc(radius: Plane, edge: float, sharpness: float) -> Plane:
    disc: Plane = 1 / (1 + np.exp((radius - edge) * sharpness))
    return disc


def _draw_lids(skin: Plane, scene: Scene, side: int) -> None:
    eye, unit, canvas = scene.face.eyes[side], scene.expression, scene.canvas
    darken(skin, canvas.stroke(np.stack([eye.x, eye.upper - 0.2], 1), 2.1, 0.35), 0.80)
    darken(skin, canvas.stroke(np.stack([eye.x, eye.lower + 0.3], 1), 1.1, 0.35), 0.34)
    gap = max(1.2, 0.75 * scene.subject.eyes.crease - 1.5 * unit[4] - unit[7])
    arc = np.sin(np.pi * (0.06 + 0.88 * LID_POSITIONS)) ** 0.6
    crease = np.stack([eye.x, eye.upper - gap * arc - 0.4], axis=1)
    darken(skin, canvas.stroke(crease, 1.4, 0.45), 0.24)


def _draw_brow(skin: Plane, light: Plane, scene: Scene, side: int) -> None:
    traits, subject = scene.subject.brows, scene.subject
    line = catmull_rom(scene.face.brows[side])
    along = np.linspace(0, 1, len(line))
    half = traits.thickness / 2 * (0.28 + 0.72 * np.sin(np.pi * (0.08 + 0.8 * along)) ** 0.8)
    body = scene.canvas.polygon(ribbon(line, half), 0.55)

    rng = np.random.default_rng([*subject.seed, 21, side + 1])
    root = rng.integers(2, len(line) - 1, BROW_HAIRS)
    across = 0.9 * rng.uniform(-1, 1, BROW_HAIRS) * half[root]
    start = line[root] + normals(line)[root] * across[:, None]
    forward = -np.gradient(line, axis=0)[root]
    forward /= np.linalg.norm(forward, axis=1, keepdims=True)
    forward[:, 1] += 0.1 - 0.35 * along[root]
    end = start + forward * rng.uniform(3, 6, BROW_HAIRS)[:, None]
    strokes = scene.canvas.strands(np.stack([start, end], 1), np.ones(BROW_HAIRS), body.window)

    hairs = 2 * (strokes - 0.5).clip(0)
    cover = traits.density * (0.85 * body.cover + 0.35 * hairs * (0.3 + body.cover))
    tone = min(0.6 * subject.hair.tone + 0.03, BROW_TO_SKIN * subject.skin)
    paint(skin, body._replace(cover=np.clip(cover, 0, 0.97)), tone * light[body.window])
