"""Advice for sources in which many images have no face."""

from collections.abc import Mapping

import pyarrow as pa
import pyarrow.compute as pc

from fer_ray.settings.extraction import WHOLE, ExtractSettings
from fer_ray.settings.face_models import CASCADES_DETECTOR
from fer_ray.vocabulary import ERROR_STATUSES, Status

SMALL_SQUARE_PX = 256  # side of the largest image that is likely to be a cropped face
LOST = (Status.NO_FACE, Status.NO_LANDMARKS)
MAX_LOST_SHARE = 0.1
MIN_IMAGES = 20  # fewer images say little about a source


def count_small_squares(images: pa.Table) -> int:
    """The number of images without a face that are small squares.

    Args:
        images: One row per image, with `status`, `width` and `height`.
    """
    square = pc.and_(
        pc.equal(images["width"], images["height"]),
        pc.less_equal(images["width"], SMALL_SQUARE_PX),
    )
    lost = pc.is_in(images["status"], pa.array([status.value for status in LOST]))
    return pc.sum(pc.and_(lost, square)).as_py() or 0


def advise_on_faces(
    counts: Mapping[str, int], small_squares: int, settings: ExtractSettings, has_bundle: bool
) -> list[str]:
    """Name the option that is likely to find faces in more of the images.

    Args:
        counts: Number of images by status.
        small_squares: From `count_small_squares`.
        settings: How the images were extracted.
        has_bundle: Whether a bundle prescribes the detector and the landmark model.

    Returns:
        At most one message.
    """
    processed = sum(counts.values()) - sum(counts.get(status, 0) for status in ERROR_STATUSES)
    if processed < MIN_IMAGES:
        return []
    lost = sum(counts.get(status, 0) for status in LOST)
    share = f"{lost} of {processed} images have no face or no landmarks"
    if settings.crop.faces != WHOLE and 2 * small_squares > processed:
        return [
            f"{share}, and {small_squares} of them are squares of at most {SMALL_SQUARE_PX} px. "
            "If each image is a cropped face, pass --faces whole, which runs no face detector."
        ]
    by_cascades = settings.crop.detector == CASCADES_DETECTOR and not has_bundle
    if by_cascades and lost > MAX_LOST_SHARE * processed:
        return [f"{share}. Pass --profile mesh to find faces in more photographs."]
    return []
