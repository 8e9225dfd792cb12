"""Features that the landmark model itself computes."""

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


def given(values: Floats) -> Floats:
    """The values of each face (n, width), unchanged.

    Blendshapes come from MediaPipe's blendshape network (Grishchenko et al., CVPR workshop on
    computer vision for AR/VR, 2022). Yaw, pitch and roll come from `head_pose.pose`.
    """
    return np.asarray(values, dtype=np.float64)
