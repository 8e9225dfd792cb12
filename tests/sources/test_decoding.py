import os
from io import BytesIO
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from fer_ray.settings.extraction import Decode
from fer_ray.sources.decoding import decode_bytes, decode_file
from fer_ray.vocabulary import Status
from tests.images import read_gray

NOISE = np.random.default_rng(0).integers(0, 256, (48, 64), dtype=np.uint8)
SMOOTH = cv2.GaussianBlur(NOISE, (0, 0), 3)
COLOUR = np.dstack([SMOOTH, SMOOTH // 2, 255 - SMOOTH])


def encoded(image: Image.Image, kind: str, **options: object) -> bytes:
    buffer = BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


GRAY_PNG = encoded(Image.fromarray(SMOOTH), "PNG")
GRAY_JPEG = encoded(Image.fromarray(SMOOTH), "JPEG")

BAD_FILES = {
    "empty": (b"", Status.UNREADABLE, "empty"),
    "text named png": (b"this is not an image\n", Status.UNREADABLE, "known format"),
    "png signature alone": (GRAY_PNG[:8], Status.UNREADABLE, ""),
    "half a png": (GRAY_PNG[: len(GRAY_PNG) // 2], Status.UNREADABLE, "truncated"),
    "png without its end": (GRAY_PNG[:-20], Status.UNREADABLE, "truncated"),
    "a jpeg without its end": (GRAY_JPEG[:-40], Status.UNREADABLE, "truncated"),
    "zeros": (bytes(1000), Status.UNREADABLE, "known format but only zeros"),
    "HEIC named jpg": (
        b"\0\0\0\x18ftypheic\0\0\0\0mif1",
        Status.UNREADABLE,
        "HEIC, which cannot be decoded",
    ),
    "error page": (b"\r\n<!DOCTYPE html><title>404", Status.UNREADABLE, "an HTML or XML page"),
    "drawing": (b"<?xml version='1.0'?><svg/>", Status.UNREADABLE, "an SVG drawing"),
    "pointer": (b"version https://git-lfs.github.com/spec/v1\n", Status.UNREADABLE, "git lfs pull"),
    "half a tiff": (encoded(Image.fromarray(SMOOTH), "TIFF")[:1500], Status.UNREADABLE, ""),
    "half a webp": (encoded(Image.fromarray(COLOUR), "WEBP")[:60], Status.UNREADABLE, ""),
    "half a bmp": (encoded(Image.fromarray(SMOOTH), "BMP")[:1500], Status.UNREADABLE, "truncated"),
    "a bomb of 400 million pixels": (
        encoded(Image.new("1", (20_000, 20_000)), "PNG"),
        Status.TOO_LARGE,
        "20000×20000 pixels",
    ),
}


@pytest.mark.parametrize("name", BAD_FILES)
def test_bad_file_has_status_and_reason(name: str) -> None:
    content, status, reason = BAD_FILES[name]
    decoded = decode_bytes(content, Decode())
    assert (decoded.gray, decoded.status) == (None, status)
    assert decoded.error
    assert reason in decoded.error
    assert decoded.sha256


KINDS = {
    "gray png": GRAY_PNG,
    "16 bit png": encoded(Image.fromarray(SMOOTH.astype(np.uint16) * 257), "PNG"),
    "rgba png": encoded(Image.fromarray(COLOUR).convert("RGBA"), "PNG"),
    "palette png": encoded(Image.fromarray(COLOUR).convert("P"), "PNG"),
    "bilevel png": encoded(Image.fromarray(SMOOTH > 128), "PNG"),
    "gray with alpha": encoded(Image.fromarray(SMOOTH).convert("LA"), "PNG"),
    "cmyk jpeg": encoded(Image.fromarray(COLOUR).convert("CMYK"), "JPEG"),
    "progressive jpeg": encoded(Image.fromarray(COLOUR), "JPEG", progressive=True),
    "webp": encoded(Image.fromarray(COLOUR), "WEBP"),
    "bmp": encoded(Image.fromarray(COLOUR), "BMP"),
    "tiff": encoded(Image.fromarray(COLOUR), "TIFF"),
    "gif": encoded(Image.fromarray(COLOUR).convert("P"), "GIF"),
}


@pytest.mark.parametrize("name", KINDS)
def test_common_formats_become_gray(name: str) -> None:
    decoded = decode_bytes(KINDS[name], Decode())
    assert decoded.status is Status.OK, decoded.error
    assert decoded.gray is not None
    assert (decoded.gray.shape, decoded.gray.dtype) == ((48, 64), np.uint8)
    assert (decoded.width, decoded.height) == (64, 48)


def test_single_pixel_image() -> None:
    decoded = decode_bytes(encoded(Image.new("L", (1, 1), 7), "PNG"), Decode())
    assert decoded.gray is not None
    assert decoded.gray.tolist() == [[7]]


@pytest.mark.parametrize("name", ["gray png", "rgba png", "progressive jpeg"])
def test_pixels_equal_those_of_opencv(name: str, tmp_path: Path) -> None:
    file = tmp_path / "image"
    file.write_bytes(KINDS[name])
    np.testing.assert_array_equal(decode_file(file, Decode()).gray, read_gray(file))


@pytest.mark.parametrize(("min_px", "by"), [(0, 1), (25, 1), (24, 2), (12, 4), (1, 8)])
def test_jpeg_is_decoded_at_reduced_size(min_px: int, by: int) -> None:
    small = decode_bytes(KINDS["progressive jpeg"], Decode(reduce_to_px=min_px))
    full = decode_bytes(KINDS["progressive jpeg"], Decode())
    assert small.gray is not None
    assert full.gray is not None
    assert (small.reduction, small.gray.shape) == (by, (48 // by, 64 // by))
    assert (small.width, small.height) == (64, 48)
    shrunk = cv2.resize(full.gray, (64 // by, 48 // by), interpolation=cv2.INTER_AREA)
    assert np.abs(small.gray.astype(int) - shrunk).mean() < 8


def test_rotated_jpeg_with_odd_sides() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # a quarter turn
    content = encoded(Image.new("RGB", (101, 67), (90, 120, 30)), "JPEG", exif=exif)
    for min_px, shape in ((0, (101, 67)), (30, (51, 34)), (8, (13, 9))):
        decoded = decode_bytes(content, Decode(reduce_to_px=min_px))
        assert decoded.gray is not None
        assert decoded.gray.shape == shape
        assert (decoded.width, decoded.height) == (67, 101)


def test_only_jpegs_are_reduced() -> None:
    assert decode_bytes(KINDS["webp"], Decode(reduce_to_px=1)).reduction == 1


def test_missing_file_and_folder_are_unreadable(tmp_path: Path) -> None:
    assert decode_file(tmp_path / "none.png", Decode()).error == "No such file or directory"
    assert decode_file(tmp_path, Decode()).status is Status.UNREADABLE


@pytest.mark.parametrize("path", ["pipe.png", "with\0null.png"])
def test_pipe_is_unreadable_and_does_not_block(tmp_path: Path, path: str) -> None:
    os.mkfifo(tmp_path / "pipe.png")
    assert decode_file(tmp_path / path, Decode()).status is Status.UNREADABLE


def test_unsupported_format_is_not_damaged() -> None:
    floating = encoded(Image.fromarray(np.zeros((9, 9), np.float32)), "TIFF")
    assert "32-bit floating point" in (decode_bytes(floating, Decode()).error or "")
    targa = encoded(Image.new("L", (9, 9)), "TGA")
    error = "the format TGA cannot be decoded: convert the image to PNG"
    assert decode_bytes(targa, Decode()).error == error
    wide = encoded(Image.new("L", (2**20 + 1, 2)), "PNG")
    assert decode_bytes(wide, Decode()).status is Status.TOO_LARGE


def test_file_above_max_bytes_is_not_read(tmp_path: Path) -> None:
    file = tmp_path / "big.png"
    file.write_bytes(GRAY_PNG)
    decoded = decode_file(file, Decode(max_bytes=100))
    assert (decoded.status, decoded.sha256) == (Status.TOO_LARGE, None)


def test_exif_orientation_is_applied() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # turn by 90 degrees
    decoded = decode_bytes(encoded(Image.fromarray(COLOUR), "JPEG", exif=exif), Decode())
    assert (decoded.width, decoded.height) == (48, 64)
