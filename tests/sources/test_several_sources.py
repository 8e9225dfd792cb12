"""Images and folders that are passed one by one, and their paths."""

from pathlib import Path

import pytest

from fer_ray.settings.extraction import Selection
from fer_ray.sources.datasets.listing import list_source
from fer_ray.sources.datasets.several_sources import list_images


@pytest.fixture
def album(tmp_path: Path) -> Path:
    """A folder that links to images elsewhere."""
    (tmp_path / "disk" / "2026").mkdir(parents=True)
    for name in ("a.jpg", "b.jpg"):
        (tmp_path / "disk" / "2026" / name).write_bytes(b"")
    album = tmp_path / "album"
    album.mkdir()
    (album / "summer").symlink_to(tmp_path / "disk" / "2026")
    (album / "best.jpg").symlink_to(tmp_path / "disk" / "2026" / "a.jpg")
    return album


def test_links_keep_their_names(album: Path) -> None:
    listing = list_images([album / "best.jpg", album / "summer"], Selection(frames="all"))
    assert listing.root == album
    assert listing.table["path"].to_pylist() == ["best.jpg", "summer/a.jpg", "summer/b.jpg"]


def test_dots_are_removed_unless_links_are_crossed(album: Path) -> None:
    inputs = [album / "summer" / ".." / "2026" / "a.jpg", album / "x" / ".." / "best.jpg"]
    (album / "x").mkdir()
    listing = list_images(inputs, Selection(frames="all"))
    assert listing.table["path"].to_pylist() == ["album/best.jpg", "disk/2026/a.jpg"]


def test_records_show_the_source_as_given(album: Path) -> None:
    summary = list_source(album / "summer", Selection(frames="all")).summary
    assert summary["root"] == str(album / "summer")
