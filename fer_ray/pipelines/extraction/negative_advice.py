"""Advice on sources of negatives: images in which black and white are swapped."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from fer_ray.faces.loaded_models import load_reader
from fer_ray.settings.extraction import ExtractSettings
from fer_ray.settings.root import PROFILES
from fer_ray.sources.decoding import decode_file
from fer_ray.vocabulary import Status

COLUMNS = ["path", "status", "width", "height"]
MIN_LOST = 5  # images without a face, which must also be most of the images
SAMPLE = 8
MAX_PIXELS = 4_000_000  # larger images are not sampled


def advise_on_negatives(images: pa.Table, root: Path, settings: ExtractSettings) -> list[str]:
    """Check whether most images show a face only when they are inverted.

    A sample is inverted and searched, and only if most images have no face.

    Args:
        images: One row per image, with `COLUMNS`.
        root: Folder that the paths are relative to.
        settings: How the images were extracted.

    Returns:
        At most one message.
    """
    lost = images.filter(pc.equal(images["status"], Status.NO_FACE.value))
    if lost.num_rows < MIN_LOST or 2 * lost.num_rows <= images.num_rows:
        return []
    area = pc.multiply(lost["width"].cast(pa.int64()), lost["height"].cast(pa.int64()))
    paths = lost.filter(pc.less_equal(area, MAX_PIXELS))["path"].to_pylist()
    sample = paths[:: max(1, len(paths) // SAMPLE)][:SAMPLE]
    found = sum(_has_inverted_face(root / path, settings) for path in sample)
    if 2 * found <= len(sample):
        return []
    return [
        f"{found} of {len(sample)} images without a face show one when they are inverted: black "
        "and white seem to be swapped. Invert the images, and extract them again."
    ]


def _has_inverted_face(file: Path, settings: ExtractSettings) -> bool:
    decoded = decode_file(file, settings.decode)
    if decoded.gray is None:
        return False
    fast = PROFILES["fast"]["extract"]["crop"] if settings.crop.min_face_share == 0 else {}
    reader = load_reader(settings.crop.model_copy(update=fast), settings.landmarks)
    height, width = decoded.gray.shape
    inverted = np.subtract(255, decoded.gray, dtype=np.uint8)
    reading = reader(inverted, "largest", decoded.reduction, (width, height))
    return reading.status == Status.OK
