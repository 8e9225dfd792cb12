"""Shading of the head: a height field under a distant lamp.

The field is computed at half resolution within the bounding box of the head. The light is flat and
mostly frontal, because landmark detectors miss the mouth in strong light from above.
"""

from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from fer_ray.synthetic.drawing.canvas import Mask, Scene
from fer_ray.synthetic.shapes.action_units import Expression
from fer_ray.synthetic.shapes.curves import SIDES, Plane, bump, smooth_step
from fer_ray.synthetic.shapes.face_outline import SKULL_TOP, shape_brow

STEP = 2  # px of the image per sample of the field
LIGHT_Z = 0.88
SPECULAR, SHININESS = 0.04, 22
CAVITY = 0.030  # light lost per mm below the neighbourhood


class Lit(NamedTuple):
    """Light on the head, two planes of the window of the head."""

    light: Plane  # diffuse light, as a factor on the reflectance
    gloss: Plane  # specular light


def light_head(scene: Scene, head: Mask) -> Lit:
    """Compute the light on the head within the window of its mask."""
    x, y = scene.canvas.x[head.window], scene.canvas.y[head.window]
    height, width = x.shape
    light, gloss = _reflect(scene, _height_field(scene, x[::STEP, ::STEP], y[::STEP, ::STEP]))
    return Lit(cv2.resize(light, (width, height)), cv2.resize(gloss, (width, height)))


def _lamp(scene: Scene) -> NDArray[np.float64]:
    """Unit vector towards the lamp: right, down, towards the camera."""
    direction = np.array([scene.subject.studio.light_x, scene.subject.studio.light_y, LIGHT_Z])
    return np.asarray(direction / np.linalg.norm(direction))


def _reflect(scene: Scene, field: Plane) -> tuple[Plane, Plane]:
    ambient, per_mm = scene.subject.studio.ambient, scene.canvas.scale / STEP
    slope_y, slope_x = np.gradient(cv2.GaussianBlur(field, (0, 0), scene.canvas.scale))
    slope_x, slope_y = slope_x * per_mm, slope_y * per_mm
    length = np.sqrt(1 + slope_x**2 + slope_y**2)
    to_lamp = _lamp(scene)
    halfway = to_lamp + np.array([0, 0, 1])
    halfway /= np.linalg.norm(halfway)
    facing = (to_lamp[2] - slope_x * to_lamp[0] - slope_y * to_lamp[1]) / length
    mirror = (halfway[2] - slope_x * halfway[0] - slope_y * halfway[1]) / length
    # Partly Lambert, partly half-Lambert: skin scatters light beyond the terminator.
    diffuse = 0.65 * np.clip(facing, 0, 1) + 0.35 * np.clip(0.5 + 0.5 * facing, 0, 1) ** 2
    cavity = np.clip(cv2.GaussianBlur(field, (0, 0), 7) - field, -2.5, 4)
    light = ambient + 1.12 * (1 - ambient) * diffuse - CAVITY * cavity
    gloss = SPECULAR * np.clip(mirror, 0, 1) ** SHININESS
    return light.astype(np.float32), gloss.astype(np.float32)


def _height_field(scene: Scene, x: Plane, y: Plane) -> Plane:
    """Height of the skin towards the camera in mm, at face coordinates `x`, `y`."""
    x, y = np.ascontiguousarray(x), np.ascontiguousarray(y)
    field = _skull(scene, x, y)
    for side in SIDES:
        field += _eye_region(scene, x, y, side) + _cheek(scene, x, y, side)
    field += _nose(scene, x, y) + _lower_face(scene, x, y)
    return field.astype(np.float32)


def _skull(scene: Scene, x: Plane, y: Plane) -> Plane:
    outline, chin = scene.face.silhouette(), scene.face.chin_y
    half_width = np.interp(y.ravel(), outline[:, 1], outline[:, 0], left=0.1, right=0.1)
    share = np.clip(np.abs(x) / np.maximum(half_width.reshape(y.shape), 1), 0, 0.995)
    levels = [SKULL_TOP, -85, -60, -30, 0, 30, 60, 85, chin - 8, chin, chin + 5]
    depths = [10, 42, 62, 70, 70, 72, 73, 70, 64, 46, 34]
    profile = np.interp(y.ravel(), levels, depths).reshape(y.shape).astype(np.float32)
    rounded: Plane = cv2.GaussianBlur(profile, (0, 0), 6) * np.sqrt(1 - share**2.5)
    return rounded


def _eye_region(scene: Scene, x: Plane, y: Plane, side: int) -> Plane:
    """Eyeball, and the inner and outer halves of socket and brow ridge.

    Socket and ridge move with the brow, because a landmark model takes a fixed edge for the brow.
    """
    eye_x, eye_y = scene.face.eyes[side].centre
    field = 3.2 * bump(x, y, (eye_x, eye_y + 0.3), (8.5, 6))
    brow = scene.face.brows[side]
    lowered = (brow - shape_brow(scene.subject, Expression(), side))[:, 1]
    for knots, socket_x, ridge_x in ((slice(0, 3), 9, 42), (slice(2, 5), -10, 20)):
        down = float(lowered[knots].mean())
        deep = (11, float(np.clip(8 - 0.9 * down, 5.5, 17)))
        socket = bump(x, y, (0.93 * eye_x + side * socket_x, eye_y - 1 + 0.8 * down), deep)
        ridge = bump(x, y, (side * ridge_x, float(brow[knots, 1].mean()) + 1), (11, 5.5))
        field += 6.0 * ridge - 5.5 * socket
    return field


def _cheek(scene: Scene, x: Plane, y: Plane, side: int) -> Plane:
    """Cheek, wing of the nose, and the bulge next to a raised corner of the mouth."""
    expression, nose = scene.expression, scene.face.nose
    smile = expression.smile(side)
    lifted = 0.8 * smile + 0.5 * expression[6] + 0.3 * expression[9]
    corner_x, corner_y = scene.face.mouth.corners[side]
    wing = (side * (nose.wing_x - 4.2), nose.wing_y)
    field: Plane = (
        (4.0 + 4.5 * lifted) * bump(x, y, (side * 43, 31 - 5 * lifted), (14, 12))
        - 2.6 * bump(x, y, (side * 44, 64), (11, 15))
        + 6.2 * scene.subject.nose.projection * bump(x, y, wing, (4.6, 5.2))
        + 1.6 * smile * bump(x, y, (corner_x + side * 9, corner_y - 1), (6, 9))
    )
    return field


def _nose(scene: Scene, x: Plane, y: Plane) -> Plane:
    nose, projection = scene.face.nose, scene.subject.nose.projection
    down = np.clip((y - 2) / (nose.tip_y - 2), 0, 1)
    ridge = (3.5 + 13.5 * down**1.25) * np.exp(-0.5 * (x / (6 + 2.6 * down)) ** 2)
    ridge *= smooth_step(y, -14, 8) * (1 - smooth_step(y, nose.tip_y + 1, nose.base_y + 0.5))
    tip = 4.2 * bump(x, y, (0, nose.tip_y - 0.5), (6.5, 6))
    root = 2.0 * bump(x, y, (0, -17), (9, 7))
    field: Plane = projection * (ridge + tip) + root
    return field


def _lower_face(scene: Scene, x: Plane, y: Plane) -> Plane:
    """Mouth region, philtrum, the furrow below the lower lip, and chin."""
    face, chin_raised = scene.face, scene.expression[17]
    lip_top = face.mouth.point(0, face.mouth.upper_edge)[1]
    lip_base = face.mouth.point(0, face.mouth.lower_edge)[1]
    sulcus = 3.0 * (1 - 0.4 * min(1, face.jaw_drop / 20))
    field: Plane = (
        3.0 * bump(x, y, (0, (lip_top + lip_base) / 2 + 2), (22, 16))
        - 0.8 * bump(x, y, (0, (face.nose.base_y + lip_top) / 2), (2.2, 4.5))
        - sulcus * bump(x, y, (0, lip_base + 4.2 - chin_raised), (15, 4))
        + (4.0 + 1.8 * chin_raised) * bump(x, y, (0, face.chin_y - 13), (13, 8.5))
    )
    return field
