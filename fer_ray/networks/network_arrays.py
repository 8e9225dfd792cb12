"""Inputs and outputs of a network from the user's file, as arrays."""

import cv2
import numpy as np
from numpy.typing import NDArray

from fer_ray.settings.network_interface import FileNetwork

Crops = NDArray[np.uint8]
Floats = NDArray[np.float32]


def prepare_input(crops: Crops, network: FileNetwork) -> Floats:
    """Resize and normalise crops.

    The channels of a gray crop are equal, so their order matters for mean and deviation only.

    Args:
        crops: Gray crops (n, size, size) uint8.
        network: Input size, channels and normalisation.

    Returns:
        (n, channels, rows, columns) or (n, rows, columns, channels) float32.
    """
    count = 1 if network.colours == "gray" else 3
    mean, std = (np.resize(values, count) for values in (network.mean, network.std))
    if network.colours == "bgr":
        mean, std = mean[::-1], std[::-1]
    gray = np.stack([resize_crop(crop, network.input_px) for crop in crops])
    pixels = ((gray[..., None] - mean) / std).astype(np.float32)
    return np.ascontiguousarray(pixels.transpose(0, 3, 1, 2) if network.channels_first else pixels)


def resize_crop(crop: Crops, side: int) -> Floats:
    """A crop (size, size) uint8 in another size, as float32; shrinking averages over areas."""
    if len(crop) != side:
        method = cv2.INTER_AREA if len(crop) > side else cv2.INTER_LINEAR
        crop = np.asarray(cv2.resize(crop, (side, side), interpolation=method), np.uint8)
    return crop.astype(np.float32)


def pool_output(outputs: Floats, network: FileNetwork, maps: bool) -> Floats:
    """Features (n, width) of the outputs of a network.

    Args:
        outputs: Vectors (n, width), or feature maps with channels first or last.
        network: Where the channels are.
        maps: Return maps as rows × columns × channels instead of their global average.
    """
    if outputs.ndim == 4 and network.maps_channels_first:
        outputs = outputs.transpose(0, 2, 3, 1)
    if outputs.ndim == 4 and not maps:
        outputs = outputs.mean(axis=(1, 2))
    return np.ascontiguousarray(outputs.reshape(len(outputs), -1))
