"""One frame: from a subject and an expression to pixels and drawn landmarks."""

from typing import NamedTuple

import numpy as np

from fer_ray.synthetic.drawing.adornments import draw_beard, draw_glasses, stubble
from fer_ray.synthetic.drawing.body import backdrop, draw_body
from fer_ray.synthetic.drawing.camera import Image, expose, pose_head
from fer_ray.synthetic.drawing.canvas import Canvas, Mask, lay
from fer_ray.synthetic.drawing.eyes import draw_brows, draw_eyes
from fer_ray.synthetic.drawing.hair import (
    draw_back_hair,
    draw_ears,
    draw_front_hair,
    draw_locks,
    shade_hairline,
)
from fer_ray.synthetic.drawing.lips import draw_mouth
from fer_ray.synthetic.drawing.scene import Scene
from fer_ray.synthetic.drawing.shading import light_head
from fer_ray.synthetic.drawing.skin_folds import fold_skin
from fer_ray.synthetic.shapes.action_units import Expression
from fer_ray.synthetic.shapes.curves import Plane, Points
from fer_ray.synthetic.shapes.face_outline import shape_face
from fer_ray.synthetic.shapes.subject import Subject


class Frame(NamedTuple):
    """A drawn frame and what it shows."""

    image: Image  # (490, 640) uint8
    landmarks_xy: Points  # (68, 2) px, as drawn


def render(subject: Subject, expression: Expression, rng: np.random.Generator) -> Frame:
    """Draw a subject under an expression; `rng` moves the head a little and makes the noise."""
    face = shape_face(subject, expression)
    scene = Scene(subject, expression, face, Canvas(pose_head(subject.studio, rng)))
    image = backdrop(scene)
    draw_back_hair(image, scene)
    draw_body(image, scene)
    draw_locks(image, scene)
    draw_ears(image, scene)
    head = scene.canvas.polygon(face.outline(), 0.45)
    lay(image, head, _draw_face(scene, head)[head.window])
    draw_front_hair(image, scene)
    draw_glasses(image, scene)
    return Frame(expose(image, subject.studio, rng), scene.canvas.to_px(face.landmarks()))


def _draw_face(scene: Scene, head: Mask) -> Plane:
    """The face (HEIGHT_PX, WIDTH_PX), valid within the head's window."""
    skin, light = _lit_skin(scene, head)
    skin *= np.clip(1 - fold_skin(scene), 0.08, 1.2)
    draw_beard(skin, light, scene)
    draw_mouth(skin, light, scene)
    draw_eyes(skin, scene)
    draw_brows(skin, light, scene)
    shade_hairline(skin, scene)
    return skin


def _lit_skin(scene: Scene, head: Mask) -> tuple[Plane, Plane]:
    lit, window, tone = light_head(scene, head), head.window, scene.subject.skin
    pores = 0.018 * scene.texture(5, 1.2)[window] + 0.022 * scene.texture(6, 7)[window]
    reflectance = tone * (1 + pores) * (1 - stubble(scene, scene.canvas.y[window]))
    skin = np.zeros_like(scene.canvas.x)
    light = np.ones_like(scene.canvas.x)
    skin[window] = reflectance * lit.light + (0.6 + 0.4 * tone) * lit.gloss
    light[window] = lit.light
    return skin, light
