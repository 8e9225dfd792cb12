"""Stubble, beards, moustaches and glasses."""

import numpy as np

from fer_ray.synthetic.drawing.canvas import Mask, Scene, darken, paint
from fer_ray.synthetic.shapes.curves import (
    SIDES,
    Plane,
    Points,
    catmull_rom,
    mirrored,
    ribbon,
    shifted_down,
    smooth_step,
)
from fer_ray.synthetic.shapes.mouth_outline import ALONG

WHISKERS = 420
FRAME_TONE = 0.10


def stubble(scene: Scene, y: Plane) -> Plane:
    """Share of light that stubble absorbs at heights `y` (mm)."""
    nose = scene.subject.nose.length
    return np.asarray(0.12 * scene.subject.hair.stubble * smooth_step(y, nose, nose + 15))


def draw_beard(skin: Plane, light: Plane, scene: Scene) -> None:
    """Draw beard and moustache on the lit skin; `light` is the light on the head."""
    hair, canvas = scene.subject.hair, scene.canvas
    if hair.beard > 0:
        _draw_whiskers(skin, light, scene, canvas.polygon(_beard_outline(scene), 2.4), hair.beard)
    if hair.moustache > 0:
        _draw_whiskers(
            skin, light, scene, canvas.polygon(_moustache_outline(scene), 1.1), hair.moustache
        )


def draw_glasses(image: Plane, scene: Scene) -> None:
    """Draw thin glasses, if the subject wears any."""
    if not scene.subject.glasses:
        return
    half = scene.face.half_width
    angle = np.linspace(0, 2 * np.pi, 60)
    cos, sin = np.cos(angle), np.sin(angle)
    rounded = (np.abs(cos) ** 3 + np.abs(sin) ** 3) ** (-1 / 3)
    for side in SIDES:
        centre_x = side * (scene.subject.eyes.pupil_distance / 2 + 1)
        rim = np.stack([centre_x + 24 * rounded * cos, 4 + 17.5 * rounded * sin], axis=1)
        _draw_frame(image, scene, rim, 0.7)
        hinge = abs(centre_x) + 24
        temple = np.array([(side * hinge, -2.0), (side * (half + 1), -5.0)])
        _draw_frame(image, scene, temple, 0.9)
    nose_side = scene.subject.eyes.pupil_distance / 2 - 23
    bridge = catmull_rom([(-nose_side, 0), (0, -3.5), (nose_side, 0)])
    _draw_frame(image, scene, bridge, 0.9)


def _draw_frame(image: Plane, scene: Scene, path: Points, half_width: float) -> None:
    darken(image, scene.canvas.polygon(ribbon(shifted_down(path, 1.5), half_width), 1.0), 0.2)
    paint(image, scene.canvas.polygon(ribbon(path, half_width), 0.25), FRAME_TONE)


def _draw_whiskers(skin: Plane, light: Plane, scene: Scene, area: Mask, density: float) -> None:
    rng = np.random.default_rng([*scene.subject.seed, 31])
    x, y = scene.canvas.x[area.window], scene.canvas.y[area.window]
    root = np.stack(
        [rng.uniform(x.min(), x.max(), WHISKERS), rng.uniform(y.min(), y.max(), WHISKERS)], axis=1
    )
    tip = root + np.stack([0.04 * root[:, 0], rng.uniform(2, 4.5, WHISKERS)], axis=1)
    tones = rng.normal(0.5, 0.25, WHISKERS)
    whiskers = scene.canvas.strands(np.stack([root, tip], axis=1), tones, area.window)
    tone = min(0.7 * scene.subject.hair.tone + 0.03, 0.5 * scene.subject.skin)
    cover = np.clip(density * area.cover * (0.6 + 0.8 * whiskers), 0, 0.9)
    paint(skin, area._replace(cover=cover), tone * light[area.window])


def _beard_outline(scene: Scene) -> Points:
    """Outline from the sideburns along the jaw, and back below the lower lip."""
    face = scene.face
    corner_x = max(abs(face.mouth.corners[side][0]) for side in SIDES)
    corner_y = max(face.mouth.corners[side][1] for side in SIDES)
    lip_base = face.mouth.point(0, face.mouth.lower_edge)[1]
    inner = [
        (face.half_width - 6, 22),
        (face.half_width - 14, 46),
        (corner_x + 13, corner_y - 8),
        (corner_x + 6, corner_y + 4),
        (0.55 * corner_x, lip_base + 5),
        (0, lip_base + 4),
    ]
    half = np.vstack([catmull_rom(inner)[::-1], catmull_rom(face.jaw[2:])])
    return mirrored(half)


def _moustache_outline(scene: Scene) -> Points:
    mouth, nose = scene.face.mouth, scene.face.nose
    top = nose.base_y + 4 + (mouth.upper_edge - nose.base_y - 4) * np.abs(ALONG) ** 2.2
    x = 0.96 * mouth.x
    return np.vstack([np.stack([x, top], 1), np.stack([x, mouth.upper_edge - 0.6], 1)[::-1]])
