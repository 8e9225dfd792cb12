"""From a file to gray pixels, or to the reason why not."""

import errno
import hashlib
import stat
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from fer_ray.settings.extraction import Decode
from fer_ray.vocabulary import Status

Gray = NDArray[np.uint8]

# The file may be well and its storage is not: rows that call it unreadable would be wrong.
STORAGE_LOST = (errno.EIO, errno.ESTALE, errno.ENOTCONN, errno.ETIMEDOUT, errno.EHOSTDOWN)

REDUCED = {
    2: cv2.IMREAD_REDUCED_GRAYSCALE_2,
    4: cv2.IMREAD_REDUCED_GRAYSCALE_4,
    8: cv2.IMREAD_REDUCED_GRAYSCALE_8,
}
MOST_SIDE = 2**31 - 1  # that a row can tell
MOST_DECODED_SIDE = 2**20  # CV_IO_MAX_IMAGE_WIDTH and _HEIGHT of OpenCV
_SAVE = "is not supported; save it with 8 or 16 bits"
# Pixel formats, by Pillow's names, that are decoded to nothing where the file is well.
UNSUPPORTED = {
    "F": f"a pixel format of 32-bit fractions {_SAVE}",
    "I": f"a pixel format of 32-bit numbers {_SAVE}",
}
Image.MAX_IMAGE_PIXELS = None  # `Decode.max_pixels` decides, with a status and not a warning
cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)  # a bad file is a row, not noise


@dataclass(frozen=True)
class Decoded:
    """What became of one file.

    Attributes:
        gray: (⌈height / reduction⌉, ⌈width / reduction⌉) uint8, None unless the status is ok.
        status: ok, unreadable or too_large.
        error: What went wrong.
        sha256: Hex digest of the file's bytes, None if they could not be read.
        mode: Pillow's name of the stored pixel format (L, RGB, I;16 …), None if unknown.
        width: Pixels by the file's header; of the whole image as it is seen where it was decoded.
        height: Likewise.
        reduction: 1, or 2, 4 or 8 where a JPEG was decoded at that part of its size.
    """

    gray: Gray | None
    status: Status
    error: str | None = None
    sha256: str | None = None
    mode: str | None = None
    width: int | None = None
    height: int | None = None
    reduction: int = 1


def decode_file(path: Path, limits: Decode) -> Decoded:
    """Read and decode one file. Never raises for a bad file, only where the storage itself is gone.

    A gray file is taken as it is. Any other is decoded to 8-bit BGR (16 bits are cut to 8, alpha is
    dropped, CMYK converted, the EXIF orientation applied) and then turned gray, as the study does.
    """
    try:
        found = path.stat()
        if not stat.S_ISREG(found.st_mode):
            return Decoded(None, Status.UNREADABLE, "no file, but a folder, pipe or device")
        size = found.st_size
        if size > limits.max_bytes:
            return _too_large(f"{size} bytes; decode.max_bytes is {limits.max_bytes}")
        content = path.read_bytes()
    except OSError as problem:
        if problem.errno in STORAGE_LOST:
            raise
        return Decoded(None, Status.UNREADABLE, problem.strerror or str(problem))
    except ValueError as problem:  # a path with a null character
        return Decoded(None, Status.UNREADABLE, str(problem))
    return decode_bytes(content, limits)


def decode_bytes(content: bytes, limits: Decode) -> Decoded:
    """Decode the bytes of one file, as `decode_file` does."""
    sha256 = hashlib.sha256(content).hexdigest()
    if not content:
        return Decoded(None, Status.UNREADABLE, "the file is empty", sha256)
    try:
        with Image.open(BytesIO(content)) as header:
            mode, (width, height), is_jpeg = header.mode, header.size, header.format == "JPEG"
    except UnidentifiedImageError:
        return Decoded(None, Status.UNREADABLE, "no image that can be identified", sha256)
    except Exception as problem:  # Pillow's parsers raise many kinds on damaged headers
        return Decoded(None, Status.UNREADABLE, f"damaged header: {problem}", sha256)
    if width * height > limits.max_pixels or max(width, height) > MOST_DECODED_SIDE:
        reason = f"{width}×{height} pixels; decode.max_pixels is {limits.max_pixels}"
        if width * height <= limits.max_pixels:
            reason = f"{width}×{height} pixels; OpenCV decodes sides of {MOST_DECODED_SIDE} at most"
        if max(width, height) > MOST_SIDE:  # a header that lies
            return _too_large(reason, sha256, mode)
        return _too_large(reason, sha256, mode, width, height)
    reduction = _reduction(min(width, height), limits.reduce_to_px) if is_jpeg else 1
    if reduction > 1 and (small := _to_gray(content, mode, reduction)) is not None:
        as_seen = _whole_size(small, reduction, (width, height))
        if as_seen is not None:
            return Decoded(small, Status.OK, None, sha256, mode, *as_seen, reduction)
    gray = _to_gray(content, mode)
    if gray is None:
        reason = UNSUPPORTED.get(mode, "truncated or damaged image data")
        return Decoded(None, Status.UNREADABLE, reason, sha256, mode, width, height)
    return Decoded(gray, Status.OK, None, sha256, mode, gray.shape[1], gray.shape[0])


def _whole_size(small: Gray, by: int, header: tuple[int, int]) -> tuple[int, int] | None:
    """Width and height of the whole image as it is seen: the header's, or turned as EXIF says.

    None where the two decoders do not agree on the header.
    """
    fitting = (size for size in (header, header[::-1])
               if small.shape == (-(-size[1] // by), -(-size[0] // by)))  # fmt: skip
    return next(fitting, None)


def _reduction(shorter_px: int, least_px: int) -> int:
    """The largest of 8, 4, 2 and 1 that leaves the shorter side so many pixels."""
    return next((by for by in (8, 4, 2) if least_px and shorter_px // by >= least_px), 1)


def _to_gray(content: bytes, mode: str, reduction: int = 1) -> Gray | None:
    """Gray pixels; of a JPEG at a part of its size the brightness as it is stored, no colours."""
    whole = cv2.IMREAD_GRAYSCALE if mode == "L" else cv2.IMREAD_COLOR
    try:
        pixels: Gray | None = cv2.imdecode(
            np.frombuffer(content, np.uint8), REDUCED.get(reduction, whole)
        )
    except cv2.error:
        return None
    in_colours = pixels is not None and pixels.ndim == 3
    return cv2.cvtColor(pixels, cv2.COLOR_BGR2GRAY) if in_colours else pixels


def _too_large(
    reason: str,
    sha256: str | None = None,
    mode: str | None = None,
    width: int | None = None,
    height: int | None = None,
) -> Decoded:
    return Decoded(None, Status.TOO_LARGE, reason, sha256, mode, width, height)


def read_gray(path: Path) -> Gray:
    """The gray pixels (height, width) uint8 of one file.

    Raises:
        ValueError: The file cannot be decoded.
    """
    decoded = decode_file(path, Decode())
    if decoded.gray is None:
        raise ValueError(f"{path}: {decoded.error}")
    return decoded.gray
