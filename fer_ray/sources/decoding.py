"""Decode image files to gray pixels, or to the reason why they cannot be decoded."""

import hashlib
import stat
from dataclasses import dataclass, replace
from io import BytesIO
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
from PIL import Image, UnidentifiedImageError

from fer_ray.errors import StoreLostError
from fer_ray.settings.extraction import Decode
from fer_ray.sources.foreign_content import describe_content
from fer_ray.sources.image_files import STORAGE_ERRNOS
from fer_ray.sources.pixel_range import Gray, decode_wide, inspect_range
from fer_ray.sources.pixel_tables import is_entry, read_entry
from fer_ray.storage.objects.object_path import ObjectPath
from fer_ray.vocabulary import Status

NOT_A_FILE = "not a regular file"

REDUCED_MODES = {
    2: cv2.IMREAD_REDUCED_GRAYSCALE_2,
    4: cv2.IMREAD_REDUCED_GRAYSCALE_4,
    8: cv2.IMREAD_REDUCED_GRAYSCALE_8,
}
MAX_COLUMN_VALUE = 2**31 - 1  # of the int32 columns width and height
MAX_DECODED_SIDE = 2**20  # CV_IO_MAX_IMAGE_WIDTH and CV_IO_MAX_IMAGE_HEIGHT of OpenCV
_CONVERT = (
    "is not supported; save the image with 8 or 16 bits per channel, or pass --set "
    "extract.decode.stretch=true if its values are from 0 to 1, 255 or 65535"
)
# Pixel formats, by Pillow's names, that OpenCV cannot decode although the file is intact.
UNSUPPORTED = {
    "F": f"32-bit floating point {_CONVERT}",
    "I": f"32-bit integer {_CONVERT}",
}
# Names of Pillow, which reads the header, for the formats that OpenCV decodes.
DECODED_FORMATS = frozenset(
    (
        *("AVIF", "BMP", "DIB", "GIF", "JPEG", "JPEG2000", "MPO", "PNG", "PPM", "SUN", "TIFF"),
        "WEBP",
    )
)
Image.MAX_IMAGE_PIXELS = None  # `Decode.max_pixels` decides, with a status instead of a warning
cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)  # bad files are reported as rows


@dataclass(frozen=True)
class Decoded:
    """The result of decoding one file.

    Attributes:
        gray: (⌈height / reduction⌉, ⌈width / reduction⌉) uint8, None unless the status is ok.
        status: ok, unreadable or too_large.
        error: Why the file was not decoded, None if it was.
        sha256: Hex digest of the file's bytes, None if they could not be read.
        mode: Pillow's name of the stored pixel format (L, RGB, I;16, …), with a note if the values
            use only part of its range (`I;16 (12 of 16 bits used)`); None if unknown.
        width: Width in pixels of the full-size image with its EXIF orientation applied; the width
            in the header if the image was not decoded; None if unknown.
        height: Height in pixels, in the same way.
        reduction: 1, or 2, 4 or 8 if a JPEG was decoded at that fraction of its size.
    """

    gray: Gray | None
    status: Status
    error: str | None = None
    sha256: str | None = None
    mode: str | None = None
    width: int | None = None
    height: int | None = None
    reduction: int = 1


class _Header(NamedTuple):
    mode: str
    width: int
    height: int
    format: str


def decode_file(path: Path, limits: Decode) -> Decoded:
    """Read one file and decode it to gray.

    Gray files are used unchanged. All others are decoded to 8-bit BGR (16 bits are cut to 8, alpha
    is dropped, CMYK is converted, the EXIF orientation is applied) and converted to gray, as in the
    reference study.

    Raises:
        OSError: The storage failed. A bad file never raises.
    """
    if isinstance(path, ObjectPath):
        return _decode_object(path, limits)
    try:
        if is_entry(path):
            return decode_bytes(read_entry(path), limits)
        info = path.stat()
        if not stat.S_ISREG(info.st_mode):
            return Decoded(None, Status.UNREADABLE, NOT_A_FILE)
        if info.st_size > limits.max_bytes:
            return _too_many_bytes(info.st_size, limits)
        content = path.read_bytes()
    except OSError as problem:
        if problem.errno in STORAGE_ERRNOS:
            raise
        return Decoded(None, Status.UNREADABLE, problem.strerror or str(problem))
    except ValueError as problem:  # a path with a null character
        return Decoded(None, Status.UNREADABLE, str(problem))
    return decode_bytes(content, limits)


def _decode_object(path: ObjectPath, limits: Decode) -> Decoded:
    try:
        size, content = path.read_up_to(limits.max_bytes)
    except OSError as problem:
        return Decoded(None, Status.UNREADABLE, problem.strerror)
    except StoreLostError as problem:  # of this object alone, if the store answers otherwise
        return Decoded(None, Status.UNREADABLE, str(problem).splitlines()[0])
    return _too_many_bytes(size, limits) if content is None else decode_bytes(content, limits)


def _too_many_bytes(size: int, limits: Decode) -> Decoded:
    reason = f"{size} bytes; decode.max_bytes is {limits.max_bytes}"
    return Decoded(None, Status.TOO_LARGE, reason)


def decode_bytes(content: bytes, limits: Decode) -> Decoded:
    """Decode the bytes of one file to gray, as `decode_file` does."""
    sha256 = hashlib.sha256(content).hexdigest()
    if not content:
        return Decoded(None, Status.UNREADABLE, "the file is empty", sha256)
    try:
        header = _read_header(content)
    except UnidentifiedImageError:
        found = describe_content(content)
        reason = f"not an image in a known format{f' but {found}' if found else ''}"
        return Decoded(None, Status.UNREADABLE, reason, sha256)
    except Exception as problem:  # Pillow's parsers raise many kinds on damaged headers
        return Decoded(None, Status.UNREADABLE, f"damaged header: {problem}", sha256)
    rejected = _reject_large(header, limits, sha256)
    if rejected:
        return rejected
    decoded = _decode_reduced(content, header, limits, sha256) or _decode_full(
        content, header, limits, sha256
    )
    return _with_range(decoded, content, limits)


def _with_range(decoded: Decoded, content: bytes, limits: Decode) -> Decoded:
    """Note in `mode` that an image does not use the range of its type, and stretch it if wanted."""
    if decoded.gray is None or (found := inspect_range(decoded.gray, content)) is None:
        return decoded
    gray = found.stretched if limits.stretch and found.stretched is not None else decoded.gray
    return replace(decoded, gray=gray, mode=f"{decoded.mode} ({found.note})")


def _read_header(content: bytes) -> _Header:
    with Image.open(BytesIO(content)) as image:
        return _Header(image.mode, *image.size, image.format or "")


def _reject_large(header: _Header, limits: Decode, sha256: str) -> Decoded | None:
    size, longer = f"{header.width}×{header.height} pixels", max(header.width, header.height)
    if header.width * header.height > limits.max_pixels:
        reason = f"{size}; decode.max_pixels is {limits.max_pixels}"
    elif longer > MAX_DECODED_SIDE:
        reason = f"{size}; OpenCV decodes sides of at most {MAX_DECODED_SIDE}"
    else:
        return None
    # A forged header may claim more pixels than the columns can store.
    width, height = header[1:3] if longer <= MAX_COLUMN_VALUE else (None, None)
    return Decoded(None, Status.TOO_LARGE, reason, sha256, header.mode, width, height)


def _decode_reduced(content: bytes, header: _Header, limits: Decode, sha256: str) -> Decoded | None:
    """A JPEG decoded at a fraction of its size, or None if the full size is needed."""
    shorter = min(header.width, header.height)
    reduction = _reduction(shorter, limits.reduce_to_px) if header.format == "JPEG" else 1
    gray = _to_gray(content, header.mode, reduction) if reduction > 1 else None
    size = None if gray is None else _full_size(gray, reduction, (header.width, header.height))
    if size is None:
        return None
    return Decoded(gray, Status.OK, None, sha256, header.mode, *size, reduction)


def _decode_full(content: bytes, header: _Header, limits: Decode, sha256: str) -> Decoded:
    mode, width, height, image_format = header
    gray = _to_gray(content, mode)
    if gray is None and mode in UNSUPPORTED and limits.stretch:
        gray = decode_wide(content)
    if gray is None:
        reason = UNSUPPORTED.get(mode, "truncated or damaged image data")
        if image_format not in DECODED_FORMATS:
            reason = f"the format {image_format} cannot be decoded: convert the image to PNG"
        return Decoded(None, Status.UNREADABLE, reason, sha256, mode, width, height)
    return Decoded(gray, Status.OK, None, sha256, mode, gray.shape[1], gray.shape[0])


def _full_size(gray: Gray, reduction: int, header: tuple[int, int]) -> tuple[int, int] | None:
    """Width and height of the full-size image: the header's, or swapped if EXIF rotates it.

    None if the two decoders disagree about the header.
    """
    candidates = (
        (width, height)
        for width, height in (header, header[::-1])
        if gray.shape == (-(-height // reduction), -(-width // reduction))
    )
    return next(candidates, None)


def _reduction(shorter_px: int, min_px: int) -> int:
    """The largest of 8, 4, 2 and 1 that leaves the shorter side at least `min_px` long."""
    return next((by for by in (8, 4, 2) if min_px and shorter_px // by >= min_px), 1)


def _to_gray(content: bytes, mode: str, reduction: int = 1) -> Gray | None:
    """Gray pixels, or None if OpenCV cannot decode them.

    A reduced JPEG is read from its stored luminance, without converting colours.
    """
    full_mode = cv2.IMREAD_GRAYSCALE if mode == "L" else cv2.IMREAD_COLOR
    try:
        pixels: Gray | None = cv2.imdecode(
            np.frombuffer(content, np.uint8), REDUCED_MODES.get(reduction, full_mode)
        )
    except cv2.error:
        return None
    if pixels is not None and pixels.ndim == 3:
        pixels = cv2.cvtColor(pixels, cv2.COLOR_BGR2GRAY)
    return pixels
