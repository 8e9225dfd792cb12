"""Render one frame: pixels and landmarks of a subject with an expression."""

from typing import NamedTuple

import numpy as np

from fer_ray.synthetic.drawing.beards_and_glasses import draw_beard, draw_glasses, stubble
from fer_ray.synthetic.drawing.body import draw_background, draw_body
from fer_ray.synthetic.drawing.camera import Image, expose, sample_pose
from fer_ray.synthetic.drawing.canvas import Canvas, Mask, Scene, paint
from fer_ray.synthetic.drawing.eyes import draw_brows, draw_eyes
from fer_ray.synthetic.drawing.hair import (
    draw_back_hair,
    draw_ears,
    draw_front_hair,
    draw_side_hair,
    shade_hairline,
)
from fer_ray.synthetic.drawing.lips import draw_mouth
from fer_ray.synthetic.drawing.shading import light_head
from fer_ray.synthetic.drawing.skin_folds import fold_shadows
from fer_ray.synthetic.shapes.action_units import Expression
from fer_ray.synthetic.shapes.curves import Plane, Points
from fer_ray.synthetic.shapes.face_outline import shape_face
from fer_ray.synthetic.shapes.subject import Subject


class Frame(NamedTuple):
    """A frame and its landmarks."""

    image: Image  # (490, 640) uint8
    landmarks_xy: Points  # (68, 2) px, exact


def render(subject: Subject, expression: Expression, rng: np.random.Generator) -> Frame:
    """Render a subject with an expression.

    Args:
        subject: Identity and studio.
        expression: Intensities of action units.
        rng: Source of the camera noise and of small movements of the head.
    """
    face = shape_face(subject, expression)
    scene = Scene(subject, expression, face, Canvas(sample_pose(subject.studio, rng)))
    image = draw_background(scene)
    draw_back_hair(image, scene)
    draw_body(image, scene)
    draw_side_hair(image, scene)
    draw_ears(image, scene)
    head = scene.canvas.polygon(face.outline(), 0.45)
    paint(image, head, _draw_face(scene, head)[head.window])
    draw_front_hair(image, scene)
    draw_glasses(image, scene)
    return Frame(expose(image, subject.studio, rng), scene.canvas.to_px(face.landmarks()))


def _draw_face(scene: Scene, head: Mask) -> Plane:
    """The face (HEIGHT_PX, WIDTH_PX), valid within the window of the head."""
    skin, light = _lit_skin(scene, head)
    skin *= np.clip(1 - fold_shadows(scene), 0.08, 1.2)
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
