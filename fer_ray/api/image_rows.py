"""Rows of images that callers pass as paths, encoded bytes or arrays of pixels."""

import hashlib
import pickle
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pyarrow as pa
from numpy.typing import ArrayLike

from fer_ray.errors import UserError
from fer_ray.execution.guard import Fault, describe_guarded, shared_guard
from fer_ray.faces.opencv_threads import one_opencv_thread
from fer_ray.features import steps
from fer_ray.features.image_steps import EnterStage, ImageSteps
from fer_ray.schemas import FACE_FIELDS, OUTCOME_FIELDS, complete_columns, feature_column, vector
from fer_ray.settings.extraction import ExtractSettings
from fer_ray.settings.feature_sets import FEATURE_SETS
from fer_ray.sources.decoding import Decoded, decode_bytes, decode_file
from fer_ray.storage.paths import to_path
from fer_ray.vocabulary import Stage, Status

GivenImage = str | Path | bytes | ArrayLike
MODES = {(): "L", (3,): "RGB", (4,): "RGBA"}  # Pillow's names, by the shape of a pixel
TO_GRAY = {"RGB": cv2.COLOR_RGB2GRAY, "RGBA": cv2.COLOR_RGBA2GRAY}
IMAGE = "image"  # column: number of the image that a row belongs to
ROW_FIELDS = (*FACE_FIELDS, *OUTCOME_FIELDS)


@dataclass(frozen=True)
class DescribeGivenImage(ImageSteps):
    """Process one image, given as a path, as encoded bytes or as pixels."""

    def __call__(self, image: GivenImage, enter: EnterStage) -> pa.Table:
        """Process one image.

        Args:
            image: A path or URI; the bytes of an image file; or pixels, as for `decode_pixels`.
            enter: Called with the name of each stage as it begins.

        Returns:
            One row per face, or one with the reason for failure.
        """
        enter(Stage.DECODE)
        decoded = self._decode(image)
        table = pa.table({"sha256": [decoded.sha256]})
        return self.finish(steps.add_decoded(table, [decoded]), enter)

    def _decode(self, image: GivenImage) -> Decoded:
        if isinstance(image, str | Path):
            return decode_file(to_path(image), self.settings.decode)
        if isinstance(image, bytes):
            return decode_bytes(image, self.settings.decode)
        return decode_pixels(image)


def decode_pixels(image: Any) -> Decoded:
    """Convert the pixels of an image to gray, as OpenCV does.

    Args:
        image: (height, width) gray, (height, width, 3) RGB or (height, width, 4) RGBA; uint8. Or
            an image of Pillow in one of these modes.

    Returns:
        The gray image; `unreadable` if the array has another shape or type.
    """
    if (pillow_mode := getattr(image, "mode", "RGB")) not in MODES.values():
        reason = f"an image of mode {pillow_mode}: convert it to RGB first"
        return Decoded(None, Status.UNREADABLE, reason)
    pixels = np.asarray(image)
    pixels = pixels[..., 0] if pixels.ndim == 3 and pixels.shape[2] == 1 else pixels
    mode = MODES.get(pixels.shape[2:]) if pixels.ndim in (2, 3) else None
    if mode is None or pixels.dtype != np.uint8 or not pixels.size:
        reason = (
            f"not an image but an array of {pixels.dtype} with shape {pixels.shape}: pass uint8 "
            "pixels with shape (height, width), or (height, width, 3) in RGB order"
        )
        return Decoded(None, Status.UNREADABLE, reason)
    pixels = np.ascontiguousarray(pixels)
    gray = cv2.cvtColor(pixels, TO_GRAY[mode]) if mode in TO_GRAY else pixels
    digest = hashlib.sha256(repr(pixels.shape).encode() + pixels.tobytes()).hexdigest()
    height, width = gray.shape
    return Decoded(np.asarray(gray, np.uint8), Status.OK, None, digest, mode, width, height)


def feature_fields(settings: ExtractSettings) -> list[pa.Field]:
    """The fields of the feature sets that extraction computes."""
    return [
        pa.field(feature_column(name), vector(FEATURE_SETS[name].width))
        for name in settings.features.sets
    ]


def describe_images(
    images: Iterable[GivenImage],
    describe: DescribeGivenImage,
    fields: Iterable[pa.Field],
    model: Callable[[pa.Table], pa.Table] | None = None,
    constants: dict[str, str] | None = None,
    image_seconds: float | None = None,
) -> pa.Table:
    """Process images in this process, or one at a time in its child process.

    Args:
        images: The images.
        describe: Processes one image.
        fields: Columns of the rows.
        model: Appends predictions.
        constants: Values of columns that every row has, even that of a failed image.
        image_seconds: Time limit of an image in the child process. None: this process.

    Returns:
        One or more rows per image, in the order of the images, with `fields` and the number of
        the image in `IMAGE`.

    Raises:
        UserError: A model is missing.
    """
    schema = pa.schema([pa.field(IMAGE, pa.int64()), *fields])
    tables, failed = [schema.empty_table()], []
    with one_opencv_thread():
        answers = [_answer(describe, image, image_seconds) for image in images]
    for number, answer in enumerate(answers):
        if isinstance(answer, Fault):
            failed.append({IMAGE: number, **_failure(answer), **(constants or {})})
        else:
            position = pa.array([number] * answer.num_rows, pa.int64())
            tables.append(answer.append_column(IMAGE, position))
    if len(tables) > 1:
        rows = pa.concat_tables(tables[1:])
        tables[1:] = [complete_columns(rows if model is None else model(rows), schema)]
    tables.append(complete_columns(pa.Table.from_pylist(failed), schema) if failed else tables[0])
    return pa.concat_tables(tables).sort_by(IMAGE)  # a stable sort


def _answer(
    describe: DescribeGivenImage, image: GivenImage, image_seconds: float | None
) -> pa.Table | Fault:
    if image_seconds is not None:
        return describe_guarded(shared_guard(pickle.dumps(describe), image_seconds), image)
    stages: list[str] = []
    try:
        return describe(image, stages.append)
    except (UserError, OSError):
        raise
    except Exception as problem:  # as in a child process: a bug costs the row of one image
        return Fault(Status.CRASHED, stages[-1], f"{type(problem).__name__}: {problem}"[:500])


def _failure(fault: Fault) -> dict[str, Any]:
    return {
        "face_index": 0,
        "status": fault.status.value,
        "stage": fault.stage or Stage.DECODE.value,
        "error": fault.error,
    }
