"""Rows of images that callers pass as paths, encoded bytes or arrays of pixels."""

import hashlib
import pickle
from collections.abc import Callable, Iterable
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pyarrow as pa
from numpy.typing import ArrayLike

from fer_ray.errors import UserError
from fer_ray.execution.guard import Fault, borrow_guard
from fer_ray.execution.guarded_batches import (
    ATTEMPTS,
    BATCH_IMAGES,
    Process,
    number_images,
    process_guarded,
)
from fer_ray.faces.opencv_threads import one_opencv_thread
from fer_ray.features.image_steps import ImageSteps
from fer_ray.features.steps import IMAGE
from fer_ray.schemas import FACE_FIELDS, OUTCOME_FIELDS, complete_columns, feature_column, vector
from fer_ray.settings.extraction import Decode, ExtractSettings
from fer_ray.settings.feature_sets import FEATURE_SETS
from fer_ray.sources.decoding import Decoded, decode_bytes, decode_file
from fer_ray.storage.paths import to_path
from fer_ray.vocabulary import Stage, Status

GivenImage = str | Path | bytes | ArrayLike
MODES = {(): "L", (3,): "RGB", (4,): "RGBA"}  # Pillow's names, by the shape of a pixel
TO_GRAY = {"RGB": cv2.COLOR_RGB2GRAY, "RGBA": cv2.COLOR_RGBA2GRAY}
ROW_FIELDS = (*FACE_FIELDS, *OUTCOME_FIELDS)


class GivenImageSteps(ImageSteps):
    """Process images that are given as a path, as encoded bytes or as pixels."""

    def decode_image(self, image: GivenImage, limits: Decode) -> Decoded:
        """Read and decode one image.

        Args:
            image: A path or URI; the bytes of an image file; or pixels, as for `decode_pixels`.
            limits: Settings of decoding.
        """
        if isinstance(image, str | Path):
            return decode_file(to_path(image), limits)
        if isinstance(image, bytes):
            return decode_bytes(image, limits)
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


def process_given_images(
    images: Iterable[GivenImage],
    steps: GivenImageSteps,
    fields: Iterable[pa.Field],
    model: Callable[[pa.Table], pa.Table] | None = None,
    constants: dict[str, str] | None = None,
    image_seconds: float | None = None,
) -> pa.Table:
    """Process images in this process, or in its child process.

    Args:
        images: The images; only a batch of them is in memory at a time.
        steps: Processes images.
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
    if image_seconds is None:
        here = partial(_process_here, steps)
        return _process_batches(images, here, 1, schema, model, constants)
    with borrow_guard(pickle.dumps(steps), image_seconds) as guard:
        return _process_batches(images, guard, ATTEMPTS, schema, model, constants)


def _process_batches(
    images: Iterable[GivenImage],
    process: Process,
    attempts: int,
    schema: pa.Schema,
    model: Callable[[pa.Table], pa.Table] | None,
    constants: dict[str, str] | None,
) -> pa.Table:
    tables, failed = [schema.empty_table()], []
    given, start = iter(images), 0
    while batch := list(islice(given, BATCH_IMAGES)):
        numbers = range(start, start + len(batch))
        with one_opencv_thread():
            processed = process_guarded(process, batch, attempts)
        tables += [number_images(rows, numbers) for rows in processed.tables]
        failed += [
            {IMAGE: numbers[number], **_failure(fault), **(constants or {})}
            for number, fault in processed.faults.items()
        ]
        start = numbers.stop
    if len(tables) > 1:
        rows = pa.concat_tables(tables[1:])
        tables[1:] = [complete_columns(rows if model is None else model(rows), schema)]
    tables.append(complete_columns(pa.Table.from_pylist(failed), schema) if failed else tables[0])
    return pa.concat_tables(tables).sort_by(IMAGE)  # a stable sort


def _process_here(steps: GivenImageSteps, images: list[GivenImage]) -> pa.Table | Fault:
    """Process images in this process, with the interface of a guard."""
    image, stage = None, ""

    def enter(*entered: Any) -> None:
        nonlocal image, stage
        image, stage = entered

    try:
        return steps(images, enter)
    except (UserError, OSError):
        raise
    except Exception as problem:  # as in a child process: a bug costs the row of one image
        error = f"{type(problem).__name__}: {problem}"[:500]
        return Fault(Status.CRASHED, stage, error, image)


def _failure(fault: Fault) -> dict[str, Any]:
    return {
        "face_index": 0,
        "status": fault.status.value,
        "stage": fault.stage or Stage.DECODE.value,
        "error": fault.error,
    }
