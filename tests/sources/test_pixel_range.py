"""Images whose values do not fill their type."""

from io import BytesIO

import cv2
import numpy as np
import pytest
from PIL import Image

from fer_ray.pipelines.extraction.range_advice import advise_on_ranges
from fer_ray.settings.extraction import Decode
from fer_ray.settings.root import Settings
from fer_ray.sources.decoding import decode_bytes
from fer_ray.vocabulary import Status

PIXELS = cv2.resize(np.random.default_rng(0).integers(0, 255, (8, 8), dtype=np.uint8), (64, 64))
DEEP = PIXELS.astype(np.uint16)


def tiff(pixels: np.ndarray, **options: object) -> bytes:
    content = BytesIO()
    Image.fromarray(pixels).save(content, "TIFF", **options)
    return content.getvalue()


def png(pixels: np.ndarray) -> bytes:
    return bytes(cv2.imencode(".png", pixels)[1])


IMAGES = {
    "12 bits": (png(DEEP << 4), "I;16 (12 of 16 bits used)"),
    "12 bits of a TIFF in which white is 0": (
        tiff(DEEP << 4, tiffinfo={262: 0}), "I;16 (12 of 16 bits used)"
    ),
    "10 bits of a colour image": (png(np.dstack([DEEP << 2] * 3)), "RGB (10 of 16 bits used)"),
    "4 bits of 8": (png(PIXELS >> 4), "L (4 of 8 bits used)"),
    "shares": (tiff((PIXELS / 255).astype(np.float32)), "F"),
    "floating point": (tiff(PIXELS.astype(np.float32)), "F"),
    "32-bit integers": (tiff(PIXELS.astype(np.int32)), "I"),
}  # fmt: skip


@pytest.mark.parametrize("name", IMAGES)
def test_values_are_stretched(name: str) -> None:
    content, mode = IMAGES[name]
    stored, stretched = (decode_bytes(content, Decode(stretch=way)) for way in (False, True))
    assert stored.mode == stretched.mode == mode
    if stored.status == Status.OK:
        assert stored.gray is not None
        assert np.ptp(stored.gray) < 16
    else:
        assert "decode.stretch=true" in str(stored.error)
    assert stretched.gray is not None
    expected = PIXELS if "of 8" not in name else (PIXELS >> 4) * 17
    assert np.abs(stretched.gray.astype(int) - expected).max() <= 1


@pytest.mark.parametrize("content", [png(PIXELS), png(DEEP << 8), png(PIXELS // 8 + 100)])
def test_usual_images_are_unchanged(content: bytes) -> None:
    stored, stretched = (decode_bytes(content, Decode(stretch=way)) for way in (False, True))
    assert stored.mode in ("L", "I;16")
    assert np.array_equal(stored.gray, stretched.gray)


def test_unknown_ranges_are_not_guessed() -> None:
    values = (PIXELS / 255 - 0.5).astype(np.float32)
    assert decode_bytes(tiff(values), Decode(stretch=True)).status == Status.UNREADABLE


def test_advice_names_the_setting() -> None:
    flat = decode_bytes(png(np.full((9, 9), 7, np.uint8)), Decode()).mode
    counts = {"L": 5, "I;16 (12 of 16 bits used)": 3, flat: 2}
    narrow, same = advise_on_ranges(counts, Decode())
    assert narrow.startswith("3 images use only part")
    assert "extract.decode.stretch=true" in narrow
    assert same.startswith("2 images consist of a single value")
    assert "were stretched" in advise_on_ranges(counts, Settings(profile="fast").extract.decode)[0]
