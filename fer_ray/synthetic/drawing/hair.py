"""Hair and ears, drawn from back to front."""

import numpy as np

from fer_ray.synthetic.drawing.canvas import Mask, Scene, darken, paint
from fer_ray.synthetic.shapes.curves import SIDES, Plane, Points, bump, catmull_rom, shifted_down
from fer_ray.synthetic.shapes.face_outline import SKULL_TOP
from fer_ray.synthetic.shapes.hair_outline import CUTS, HairShape, shape_front_hair, shape_side_hair

STRANDS = 620
CURLS = 1100
STRAND_POINTS = 9
STRAND_CONTRAST = 0.15  # standard deviation of the strands' tone
EAR_SHADE = 0.66  # shaded by the head; the edge of brighter ears is mistaken for the jaw
BUZZ_COVER = 0.72  # the scalp is visible


def draw_back_hair(image: Plane, scene: Scene) -> None:
    """Draw the hair behind the neck, and the knot of tied hair."""
    canvas = scene.canvas
    if CUTS[scene.subject.hair.style].length is not None:
        left, right = (_side_hair(scene, side).crown for side in SIDES)
        behind = canvas.polygon(np.vstack([left, right[::-1]]), 1.0)
        paint(image, behind, 0.55 * scene.subject.hair.tone + 0.01)
    if scene.subject.hair.style == "tied_back":
        angle = np.linspace(0, 2 * np.pi, 40)
        knot = np.stack([20 * np.cos(angle), SKULL_TOP - 6 + 14 * np.sin(angle)], axis=1)
        paint(image, canvas.polygon(knot, 1.0), 0.85 * scene.subject.hair.tone + 0.02)


def draw_ears(image: Plane, scene: Scene) -> None:
    """Draw both ears, unless long hair covers them."""
    if CUTS[scene.subject.hair.style].length is not None:
        return
    half, skin = scene.face.half_width, scene.subject.skin
    rim = [(-3, -6), (6, -10), (10, 0), (7, 21), (1.5, 33), (-5, 30)]
    helix = [(1.5, -4), (6.5, -4), (7, 6), (4.5, 18)]
    for side in SIDES:
        ear = [(side * (half + x), y) for x, y in rim]
        paint(image, scene.canvas.polygon(catmull_rom(ear, closed=True), 0.6), EAR_SHADE * skin)
        inner = [(side * (half + x), y) for x, y in helix]
        darken(image, scene.canvas.stroke(catmull_rom(inner, 6), 2.4, 0.7), 0.3)


def draw_side_hair(image: Plane, scene: Scene) -> None:
    """Draw long hair in front of the shoulders and behind the cheeks."""
    if CUTS[scene.subject.hair.style].length is None:
        return
    for side in SIDES:
        shape = _side_hair(scene, side)
        mask = scene.canvas.polygon(shape.outline(), 1.0)
        strands = _combed(shape, False, _strand_rng(scene, 40 + side))
        _paint_strands(image, scene, mask, strands)


def draw_front_hair(image: Plane, scene: Scene) -> None:
    """Draw the hair from the forehead over the crown."""
    shape = _front_hair(scene)
    mask = scene.canvas.polygon(shape.outline(), 1.3)
    if scene.subject.hair.style == "buzz":
        mask = mask._replace(cover=BUZZ_COVER * mask.cover)
    rng, combed = _strand_rng(scene, 43), CUTS[scene.subject.hair.style].combed
    strands = _curls(shape, rng) if combed == "curled" else _combed(shape, combed == "back", rng)
    _paint_strands(image, scene, mask, strands)


def shade_hairline(image: Plane, scene: Scene) -> None:
    """Draw the shadow of the front hair on the forehead."""
    shape = _front_hair(scene)
    depth = min(5.0, 0.4 * scene.subject.hair.volume)
    darken(image, scene.canvas.stroke(shifted_down(shape.hairline, depth / 2), depth, 2.2), 0.30)


def _front_hair(scene: Scene) -> HairShape:
    return shape_front_hair(scene.subject.hair, scene.face.half_width)


def _side_hair(scene: Scene, side: int) -> HairShape:
    return shape_side_hair(scene.subject.hair, scene.face.half_width, side)


def _strand_rng(scene: Scene, key: int) -> np.random.Generator:
    return np.random.default_rng([*scene.subject.seed, key])


def _paint_strands(image: Plane, scene: Scene, mask: Mask, paths: Points) -> None:
    hair, x, y = scene.subject.hair, scene.canvas.x[mask.window], scene.canvas.y[mask.window]
    tones = _strand_rng(scene, 44).normal(0.5, STRAND_CONTRAST, len(paths))
    strands = scene.canvas.strands(paths, tones, mask.window)
    towards_lamp = -20 if scene.subject.studio.light_x >= 0 else 20
    sheen = bump(x, y, (towards_lamp, SKULL_TOP + 16), (60, 22))
    tone = hair.tone * (0.35 + strands) * (0.8 + 0.4 * sheen) + 0.025
    paint(image, mask, tone.astype(np.float32))


def _combed(shape: HairShape, back: bool, rng: np.random.Generator) -> Points:
    """Strands (STRANDS, STRAND_POINTS, 2) from front to back, or down along the edges."""
    reach = np.linspace(0, 1, STRAND_POINTS)[None]
    drift = rng.normal(0, 0.02, (STRANDS, 1)) * reach
    if back:
        along = rng.uniform(0, 1, (STRANDS, 1)) + drift
        across = reach * rng.uniform(0.5, 1, (STRANDS, 1))
    else:
        outwards = rng.choice((-1, 1), (STRANDS, 1))
        along = 0.5 + outwards * (rng.uniform(0, 0.5, (STRANDS, 1)) + 0.25 * reach)
        across = rng.uniform(0, 1, (STRANDS, 1)) + 2 * drift
    return _between(shape, along, np.clip(across, 0, 1))


def _curls(shape: HairShape, rng: np.random.Generator) -> Points:
    along, across = rng.uniform(0, 1, (2, CURLS, 1))
    centres = _between(shape, along, across)
    angle = rng.uniform(0, 2 * np.pi, (CURLS, 1)) + np.linspace(0, 4.5, STRAND_POINTS)
    radius = rng.uniform(1.5, 5, (CURLS, 1, 1))
    return np.asarray(centres + radius * np.stack([np.cos(angle), np.sin(angle)], axis=-1))


def _between(shape: HairShape, along: Points, across: Points) -> Points:
    """Points at the fraction `along` both curves and `across` from the inner to the outer one."""
    position = np.clip(along, 0, 1) * (len(shape.hairline) - 1)
    steps = np.arange(len(shape.hairline))
    inner, outer = (
        np.stack([np.interp(position, steps, curve[:, axis]) for axis in (0, 1)], axis=-1)
        for curve in shape
    )
    return np.asarray(inner + (outer - inner) * across[..., None])
