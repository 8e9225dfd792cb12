"""Which files of a source are images: by name for run folders and for sweeps."""

from io import BytesIO
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from fer_ray.settings.extraction import Decode, Selection
from fer_ray.sources.datasets.listing import list_source
from fer_ray.sources.decoding import decode_bytes
from fer_ray.sources.image_files import IMAGE_SUFFIXES, is_image
from fer_ray.sources.quality import Quality
from fer_ray.sources.streams.image_source import open_source
from fer_ray.vocabulary import Status
from tests.sources.test_photographs import touch

PIXELS = cv2.resize(
    np.random.default_rng(0).integers(0, 255, (6, 6), dtype=np.uint8), (48, 48)
)  # smooth, so that every codec accepts it
JUNK = (
    "happy/@eaDir/0.jpg/SYNOPHOTO_THUMB_XL.jpg", "happy/.thumbnails/0.jpg", ".@__thumb/0.jpg",
    ".ipynb_checkpoints/0-checkpoint.jpg", ".Trash-1000/files/0.jpg", "#recycle/0.jpg",
    "@Recycle/0.jpg", ".trashed-1795836104-B.jpg", "__MACOSX/sad/._0.jpg", "sad/._0.jpg",
    "Previews.lrdata/0.jpg", "lost+found/0.jpg", ".stversions/0.jpg", ".AppleDouble/0.jpg",
    "Thumbs.db", "desktop.ini", ".DS_Store",
)  # fmt: skip
HIDDEN = (".hidden.jpg", ".album/0.jpg")


def listed(root: Path, hidden_files: bool) -> tuple[list[str], dict[str, int]]:
    """Paths and irregularities of a run folder's listing, after comparing them with a sweep's."""
    quality = Quality()
    entries = open_source(str(root), hidden_files).entries(quality)
    swept = sorted(entry.path for entry in entries)
    selection = Selection(frames="all", hidden_files=hidden_files)
    listing = list_source(root, selection)
    counts = [
        {record["kind"]: record["count"] for record in records if record["kind"].endswith("file")}
        for records in (quality.records(), listing.summary["quality"])
    ]
    assert counts[0] == counts[1]
    assert swept == listing.table["path"].to_pylist()
    return swept, counts[0]


def test_trash_thumbnails_and_hidden_files_are_left_out(tmp_path: Path) -> None:
    touch(tmp_path, "happy/0.jpg", "sad/0.jpg", *JUNK, *HIDDEN)
    paths, counts = listed(tmp_path, hidden_files=False)
    assert paths == ["happy/0.jpg", "sad/0.jpg"]
    assert counts == {"junk_file": len(JUNK), "hidden_file": len(HIDDEN)}
    paths, counts = listed(tmp_path, hidden_files=True)
    assert paths == [".album/0.jpg", ".hidden.jpg", "happy/0.jpg", "sad/0.jpg"]
    assert counts == {"junk_file": len(JUNK)}


@pytest.mark.filterwarnings("ignore:IM image format is deprecated")
def test_every_format_that_can_be_decoded_is_listed() -> None:
    Image.init()
    gray = Image.fromarray(PIXELS)
    decodable = set()
    for suffix, name in Image.registered_extensions().items():
        content = BytesIO()
        try:
            gray.save(content, name)
        except Exception:  # formats that Pillow only reads, or that need options
            continue
        if decode_bytes(content.getvalue(), Decode()).status == Status.OK:
            decodable.add(suffix)
    assert {".jpg", ".png", ".jfif", ".jp2", ".pnm", ".webp"} <= decodable
    assert decodable <= IMAGE_SUFFIXES


@pytest.mark.parametrize(
    "name", ["a.JFIF", "a.pjpeg", "a.avif", "a.jp2", "a.pnm", "a.dib", "a.ras"]
)
def test_uncommon_extensions_are_images(name: str) -> None:
    assert is_image(name)


def test_other_files_are_named_by_extension(tmp_path: Path) -> None:
    touch(tmp_path, "a.jpg", "b.HEIC", "c.heic", "d/e.mp4", "README")
    [record] = list_source(tmp_path, Selection()).summary["quality"]
    assert (record["kind"], record["count"]) == ("not_an_image", 4)
    assert "[.heic (2), no extension (1), .mp4 (1)]" in record["meaning"]
