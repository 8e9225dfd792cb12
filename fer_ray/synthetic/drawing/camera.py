"""The camera: pose of the head, exposure, blur, noise, frame size and colour."""

import cv2
import numpy as np
from numpy.typing import NDArray

from fer_ray.synthetic.drawing.canvas import HEIGHT_PX, Pose
from fer_ray.synthetic.shapes.curves import Plane
from fer_ray.synthetic.shapes.subject import Studio

Image = NDArray[np.uint8]

SHORT_HEIGHT_PX = 480  # part of CK+ is 640×480
ROWS_CUT = (HEIGHT_PX - SHORT_HEIGHT_PX) // 2  # at the top, and as many at the bottom
GAMMA = 0.9
# Gains of blue, green and red under warm light, balanced so that the gray value is unchanged.
WARM_BGR = np.array([0.84, 0.99, 1.08])


def sample_pose(studio: Studio, rng: np.random.Generator) -> Pose:
    """Sample the pose of the head in one frame, close to the subject's mean pose."""
    shift = rng.normal(0, 0.6, 2)
    return Pose(
        studio.scale_px * (1 + rng.normal(0, 0.002)),
        (studio.centre_x_px + shift[0], studio.centre_y_px + shift[1]),
        studio.roll_deg + rng.normal(0, 0.15),
    )


def expose(light: Plane, studio: Studio, rng: np.random.Generator) -> Image:
    """Expose light (height, width) from 0 to 1 to a gray image (height, width) uint8."""
    blurred = cv2.GaussianBlur(np.clip(light, 0, 1), (0, 0), studio.blur_px)
    noise = studio.noise * rng.standard_normal(light.shape, dtype=np.float32)
    gray: Image = np.clip(np.round(255 * blurred**GAMMA + noise), 0, 255).astype(np.uint8)
    return gray


def crop_to_480(image: Image) -> Image:
    """The middle 480 rows of a frame."""
    return image[ROWS_CUT : ROWS_CUT + SHORT_HEIGHT_PX]


def tint(image: Image) -> Image:
    """Convert a gray frame to colour under warm light, (height, width, 3) uint8 BGR."""
    tinted: Image = np.clip(np.round(image[..., None] * WARM_BGR), 0, 255).astype(np.uint8)
    return tinted
