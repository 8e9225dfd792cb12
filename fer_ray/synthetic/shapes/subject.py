"""Who is drawn: the parameters of one identity, sampled from a seed."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

SHORT_STYLES = ("cropped", "side_part", "swept", "receding", "curly", "buzz")
LONG_STYLES = ("bob", "long", "long_fringe", "tied_back")
STYLES = SHORT_STYLES + LONG_STYLES
GARMENTS = ("crew_neck", "v_neck", "collar")


@dataclass(frozen=True)
class Head:
    """Outline of the head; factors are relative to the mean face."""

    width: float  # factor
    jaw_width: float  # factor, grows towards the chin
    lower_length: float  # factor on everything below the eyes
    chin_drop: float  # mm
    chin_square: float  # mm that the chin's corners stand out
    neck_width: float  # share of the jaw's half-width
    age: float  # 0 smooth … 1 lined


@dataclass(frozen=True)
class Eyes:
    """Eyes, mm."""

    pupil_distance: float
    width: float
    upper_aperture: float  # lid above the line between the corners
    lower_aperture: float
    tilt: float  # of the outer corner, down
    iris_radius: float
    iris_tone: float  # reflectance
    crease: float  # of the upper lid above the lid line


@dataclass(frozen=True)
class Brows:
    """Brows, mm."""

    height: float  # y at rest
    thickness: float
    arch: float
    tilt: float
    density: float  # 0 … 1
    length: float  # factor


@dataclass(frozen=True)
class Nose:
    """Nose, mm."""

    half_width: float
    length: float  # y of its base
    projection: float  # factor


@dataclass(frozen=True)
class Mouth:
    """Mouth at rest, mm."""

    half_width: float
    height: float  # y of the line between the lips
    upper_lip: float
    lower_lip: float
    lip_tone: float  # share of the skin's reflectance
    corner_bias: float  # how far the corners hang


@dataclass(frozen=True)
class Hair:
    """Hair of the head and the face, mm and reflectances."""

    style: str  # one of STYLES
    tone: float
    hairline: float  # y
    parting: float  # x
    volume: float
    beard: float  # darkness, 0 for none
    moustache: float
    stubble: float


@dataclass(frozen=True)
class Studio:
    """Light, clothes and camera of one recording session."""

    background: float  # reflectance
    garment: str  # one of GARMENTS
    cloth: float  # reflectance
    light_x: float  # direction of the light: x, y; z is LIGHT_Z
    light_y: float
    ambient: float  # share of light without direction
    scale_px: float  # px per mm
    centre_x_px: float
    centre_y_px: float
    roll_deg: float
    blur_px: float
    noise: float  # standard deviation, grey levels


@dataclass(frozen=True)
class Subject:
    """One identity in one studio."""

    seed: tuple[int, int]
    skin: float  # reflectance
    expressiveness: float
    glasses: bool
    head: Head
    eyes: Eyes
    brows: Brows
    nose: Nose
    mouth: Mouth
    hair: Hair
    studio: Studio


class _Sampler:
    def __init__(self, seed: tuple[int, int]) -> None:
        self.rng = np.random.default_rng([*seed, 11])

    def normal(self, mean: float, deviation: float) -> float:
        """A normal draw, clipped where faces would turn into caricatures."""
        return mean + deviation * float(np.clip(self.rng.normal(), -2.2, 2.2))

    def uniform(self, low: float, high: float) -> float:
        return float(self.rng.uniform(low, high))

    def chance(self, probability: float) -> bool:
        return bool(self.rng.random() < probability)

    def one_of(self, weights: Mapping[str, float]) -> str:
        shares = np.array(list(weights.values()))
        return str(self.rng.choice(list(weights), p=shares / shares.sum()))


def sample_subject(seed: tuple[int, int]) -> Subject:
    """The identity that belongs to `seed`: (corpus seed, subject number)."""
    draw = _Sampler(seed)
    # Below .36 the cascades start to miss the face, a limit of the drawing.
    skin = float(np.clip(draw.rng.beta(3, 1.8), 0.18, 0.95)) * 0.47 + 0.36
    return Subject(
        seed=seed,
        skin=skin,
        expressiveness=draw.uniform(0.85, 1.1),
        glasses=draw.chance(0.12),
        head=_head(draw),
        eyes=_eyes(draw),
        brows=_brows(draw),
        nose=Nose(draw.normal(16.2, 1.4), draw.normal(45.5, 2.0), draw.normal(0.85, 0.1)),
        mouth=_mouth(draw),
        hair=_hair(draw),
        studio=_studio(draw),
    )


def _head(draw: _Sampler) -> Head:
    return Head(
        width=draw.normal(1, 0.045),
        jaw_width=draw.normal(1, 0.06),
        lower_length=draw.normal(1, 0.04),
        chin_drop=draw.normal(0, 3.0),
        chin_square=draw.normal(0, 1.0),
        neck_width=draw.uniform(0.70, 0.84),
        age=draw.uniform(0, 1),
    )


def _eyes(draw: _Sampler) -> Eyes:
    return Eyes(
        pupil_distance=draw.normal(63, 2.4),
        width=draw.normal(30, 1.4),
        upper_aperture=draw.normal(5.4, 0.6),
        lower_aperture=draw.normal(4.2, 0.4),
        tilt=draw.normal(-0.8, 0.9),
        iris_radius=draw.normal(6.0, 0.2),
        iris_tone=draw.uniform(0.08, 0.38),
        crease=draw.normal(4.6, 0.8),
    )


def _brows(draw: _Sampler) -> Brows:
    return Brows(
        height=draw.normal(-20.5, 1.6),
        thickness=draw.normal(5.2, 1.0),
        arch=draw.normal(3.4, 1.0),
        tilt=draw.normal(0, 1.1),
        density=draw.uniform(0.6, 0.95),
        length=draw.normal(1, 0.05),
    )


def _mouth(draw: _Sampler) -> Mouth:
    return Mouth(
        half_width=draw.normal(25.5, 1.7),
        height=draw.normal(64.3, 1.4),
        upper_lip=draw.normal(6.4, 1.0),
        lower_lip=draw.normal(8.6, 1.0),
        lip_tone=draw.uniform(0.54, 0.74),
        corner_bias=draw.normal(0, 0.7),
    )


def _hair(draw: _Sampler) -> Hair:
    style = draw.one_of(dict.fromkeys(SHORT_STYLES, 0.09) | dict.fromkeys(LONG_STYLES, 0.12))
    bearded = style in SHORT_STYLES and draw.chance(0.35)
    return Hair(
        style=style,
        tone=draw.uniform(0.05, 0.42) if draw.chance(0.85) else draw.uniform(0.5, 0.75),
        hairline=draw.normal(-66, 4),
        parting=draw.uniform(-28, 28),
        volume=draw.normal(13, 4),
        beard=draw.uniform(0.25, 0.5) if bearded else 0.0,
        moustache=draw.uniform(0.3, 0.5) if bearded and draw.chance(0.8) else 0.0,
        stubble=draw.uniform(0, 0.5) if style in SHORT_STYLES else 0.0,
    )


def _studio(draw: _Sampler) -> Studio:
    return Studio(
        background=draw.uniform(0.45, 0.85),
        garment=draw.one_of(dict.fromkeys(GARMENTS, 1.0)),
        cloth=draw.uniform(0.1, 0.8),
        light_x=draw.normal(0, 0.22),
        light_y=draw.normal(-0.28, 0.09),
        ambient=draw.uniform(0.52, 0.70),
        scale_px=draw.normal(1.62, 0.09),
        centre_x_px=draw.normal(320, 14),
        centre_y_px=draw.normal(210, 8),
        roll_deg=draw.normal(0, 1.3),
        blur_px=draw.uniform(0.6, 1.0),
        noise=draw.uniform(1.2, 3.0),
    )
