"""Subjects: the parameters of one identity and its studio, sampled from a seed."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

SHORT_STYLES = ("cropped", "side_part", "swept", "receding", "curly", "buzz")
LONG_STYLES = ("bob", "long", "long_fringe", "tied_back")
STYLES = SHORT_STYLES + LONG_STYLES
GARMENTS = ("crew_neck", "v_neck", "collar")


@dataclass(frozen=True)
class Head:
    """Outline of the head; factors relative to the mean face."""

    width: float  # factor
    jaw_width: float  # factor, grows towards the chin
    lower_length: float  # factor on everything below the eyes
    chin_drop: float  # mm
    chin_square: float  # mm by which the corners of the chin protrude
    neck_width: float  # share of the jaw's half-width
    age: float  # 0 (smooth) to 1 (lined)


@dataclass(frozen=True)
class Eyes:
    """Eyes, mm."""

    pupil_distance: float
    width: float
    upper_aperture: float  # of the lid above the line between the corners
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
    density: float  # 0 to 1
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
    corner_bias: float  # by which the corners hang


@dataclass(frozen=True)
class Hair:
    """Hair and facial hair, in mm and reflectances."""

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
    ambient: float  # share of ambient light
    scale_px: float  # px per mm
    centre_x_px: float
    centre_y_px: float
    roll_deg: float
    blur_px: float
    noise: float  # standard deviation in gray levels


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
        """Sample a normal distribution, clipped so that faces do not become caricatures."""
        return mean + deviation * float(np.clip(self.rng.normal(), -2.2, 2.2))

    def uniform(self, low: float, high: float) -> float:
        return float(self.rng.uniform(low, high))

    def chance(self, probability: float) -> bool:
        return bool(self.rng.random() < probability)

    def choice(self, weights: Mapping[str, float]) -> str:
        shares = np.array(list(weights.values()))
        return str(self.rng.choice(list(weights), p=shares / shares.sum()))


def sample_subject(seed: tuple[int, int]) -> Subject:
    """Sample the subject of a seed: (corpus seed, index in the corpus)."""
    sampler = _Sampler(seed)
    # Below 0.36 the cascades begin to miss rendered faces.
    skin = float(np.clip(sampler.rng.beta(3, 1.8), 0.18, 0.95)) * 0.47 + 0.36
    return Subject(
        seed=seed,
        skin=skin,
        expressiveness=sampler.uniform(0.85, 1.1),
        glasses=sampler.chance(0.12),
        head=_head(sampler),
        eyes=_eyes(sampler),
        brows=_brows(sampler),
        nose=Nose(sampler.normal(16.2, 1.4), sampler.normal(45.5, 2.0), sampler.normal(0.85, 0.1)),
        mouth=_mouth(sampler),
        hair=_hair(sampler),
        studio=_studio(sampler),
    )


def _head(sampler: _Sampler) -> Head:
    return Head(
        width=sampler.normal(1, 0.045),
        jaw_width=sampler.normal(1, 0.06),
        lower_length=sampler.normal(1, 0.04),
        chin_drop=sampler.normal(0, 3.0),
        chin_square=sampler.normal(0, 1.0),
        neck_width=sampler.uniform(0.70, 0.84),
        age=sampler.uniform(0, 1),
    )


def _eyes(sampler: _Sampler) -> Eyes:
    return Eyes(
        pupil_distance=sampler.normal(63, 2.4),
        width=sampler.normal(30, 1.4),
        upper_aperture=sampler.normal(5.4, 0.6),
        lower_aperture=sampler.normal(4.2, 0.4),
        tilt=sampler.normal(-0.8, 0.9),
        iris_radius=sampler.normal(6.0, 0.2),
        iris_tone=sampler.uniform(0.08, 0.38),
        crease=sampler.normal(4.6, 0.8),
    )


def _brows(sampler: _Sampler) -> Brows:
    return Brows(
        height=sampler.normal(-20.5, 1.6),
        thickness=sampler.normal(5.2, 1.0),
        arch=sampler.normal(3.4, 1.0),
        tilt=sampler.normal(0, 1.1),
        density=sampler.uniform(0.6, 0.95),
        length=sampler.normal(1, 0.05),
    )


def _mouth(sampler: _Sampler) -> Mouth:
    return Mouth(
        half_width=sampler.normal(25.5, 1.7),
        height=sampler.normal(64.3, 1.4),
        upper_lip=sampler.normal(6.4, 1.0),
        lower_lip=sampler.normal(8.6, 1.0),
        lip_tone=sampler.uniform(0.54, 0.74),
        corner_bias=sampler.normal(0, 0.7),
    )


def _hair(sampler: _Sampler) -> Hair:
    style = sampler.choice(dict.fromkeys(SHORT_STYLES, 0.09) | dict.fromkeys(LONG_STYLES, 0.12))
    bearded = style in SHORT_STYLES and sampler.chance(0.35)
    return Hair(
        style=style,
        tone=sampler.uniform(0.05, 0.42) if sampler.chance(0.85) else sampler.uniform(0.5, 0.75),
        hairline=sampler.normal(-66, 4),
        parting=sampler.uniform(-28, 28),
        volume=sampler.normal(13, 4),
        beard=sampler.uniform(0.25, 0.5) if bearded else 0.0,
        moustache=sampler.uniform(0.3, 0.5) if bearded and sampler.chance(0.8) else 0.0,
        stubble=sampler.uniform(0, 0.5) if style in SHORT_STYLES else 0.0,
    )


def _studio(sampler: _Sampler) -> Studio:
    return Studio(
        background=sampler.uniform(0.45, 0.85),
        garment=sampler.choice(dict.fromkeys(GARMENTS, 1.0)),
        cloth=sampler.uniform(0.1, 0.8),
        light_x=sampler.normal(0, 0.22),
        light_y=sampler.normal(-0.28, 0.09),
        ambient=sampler.uniform(0.52, 0.70),
        scale_px=sampler.normal(1.62, 0.09),
        centre_x_px=sampler.normal(320, 14),
        centre_y_px=sampler.normal(210, 8),
        roll_deg=sampler.normal(0, 1.3),
        blur_px=sampler.uniform(0.6, 1.0),
        noise=sampler.uniform(1.2, 3.0),
    )
