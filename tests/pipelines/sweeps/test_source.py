"""Listing and reading of a source, and its labels."""

import errno
import hashlib
import os
import shutil
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from fsspec.implementations.local import LocalFileSystem
from pyarrow import fs

from fer_ray.errors import SourceLostError, UserError, error_text
from fer_ray.pipelines.sweeps.context import SweepRequest
from fer_ray.pipelines.sweeps.planning.labelled_listing import list_source
from fer_ray.pipelines.sweeps.planning.plan_work import plan_work
from fer_ray.pipelines.sweeps.planning.prepare import prepare_sweep
from fer_ray.settings.extraction import Selection
from fer_ray.settings.root import Settings
from fer_ray.sources.quality import Quality
from fer_ray.sources.streams import image_source as sources
from fer_ray.sources.streams.image_source import Source, open_source
from fer_ray.sources.streams.stream_labels import find_labels
from fer_ray.sources.streams.timed_reader import (
    MAX_TIMEOUTS,
    ImageReader,
    ReadTimeoutError,
    with_probe,
)
from fer_ray.storage.delta_store import Store
from fer_ray.storage.objects import uris
from fer_ray.storage.objects.uris import require_store_uri
from fer_ray.storage.paths import without_credentials
from tests.pipelines.sweeps.blocks import process_block
from tests.pipelines.sweeps.conftest import FAST, Swept, append, rows, tiny_image


def listed(root: Path) -> tuple[list[str], dict[str, int]]:
    quality = Quality()
    paths = [entry.path for entry in open_source(str(root)).entries(quality)]
    return sorted(paths), {item["kind"]: item["count"] for item in quality.records()}


def test_system_folders_are_skipped(tmp_path: Path) -> None:
    tiny_image(tmp_path / "a.png", seed=1)
    for name in ("lost+found", ".snapshot", "$RECYCLE.BIN", "System Volume Information"):
        tiny_image(tmp_path / name / "b.png", seed=1)
        (tmp_path / name).chmod(0)
    assert listed(tmp_path) == (["a.png"], {"junk_file": 4})


def test_other_files_are_counted(tmp_path: Path) -> None:
    tiny_image(tmp_path / "a.png", seed=1)
    (tmp_path / "notes.txt").touch()
    (tmp_path / "labels.csv").touch()
    (tmp_path / ".DS_Store").touch()
    (tmp_path / os.fsdecode(b"\xff.png")).touch()
    (tmp_path / "dangling.png").symlink_to(tmp_path / "nothing")
    assert listed(tmp_path) == (
        ["a.png", "dangling.png"],
        {"not_an_image": 1, "junk_file": 1, "undecodable_name": 1},
    )


def test_linked_folder_is_listed_once(tmp_path: Path) -> None:
    root, outside = tmp_path / "root", tmp_path / "outside"
    for folder in (root / "one", outside):
        tiny_image(folder / "a.png", seed=1)
    (root / "again").symlink_to(root / "one")
    (root / "up").symlink_to(root)
    (root / "out1").symlink_to(outside)
    (root / "out2").symlink_to(outside)
    (root / "loop").symlink_to(root / "loop")
    assert listed(root) == (
        ["one/a.png", "out1/a.png"], {"linked_folder": 3, "not_an_image": 1}
    )  # fmt: skip


@pytest.mark.timeout(60)
def test_pipes_and_broken_links_are_rows(swept: Swept, source: Path, store: Path) -> None:
    os.mkfifo(source / "pipe.png")
    (source / "link.png").symlink_to("nothing")
    manifest = swept()
    assert manifest["statuses"]["unreadable"] == 3
    why = {row["path"]: row["error"] for row in rows(store, "images")}
    assert (why["pipe.png"], why["link.png"]) == (
        "not a regular file",
        "broken link",
    )
    assert swept()["planned"].keys() == {"same"}
    [irregularity] = manifest["quality"]
    assert (irregularity["kind"], irregularity["examples"]) == ("not_an_image", ["notes.txt"])


def test_pipe_in_place_of_an_image(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.png")
    with pytest.raises(OSError, match="not a regular file"):
        open_source(str(tmp_path)).read("pipe.png")


def test_reads_at_most_max_bytes(tmp_path: Path) -> None:
    (tmp_path / "large.png").write_bytes(bytes(1_000))
    (tmp_path / "small.png").write_bytes(bytes(100))
    source = open_source(str(tmp_path))
    processed = process_block(source, tmp_path / "out", ["large.png", "small.png"], max_bytes=100)
    assert processed.results == []
    [large] = processed.outcomes
    assert (large["path"], large["status"], large["sha256"]) == ("large.png", "too_large", None)
    [small] = processed.readings
    assert (small["path"], small["sha256"]) == (
        "small.png", hashlib.sha256(bytes(100)).hexdigest()
    )  # fmt: skip
    assert (small["size"], small["mtime_ns"]) == (1, 2)


def test_several_hanging_reads_are_a_lost_source() -> None:
    held = threading.Event()

    class Hanging(Source):
        def read(self, path: str, most: int | None = None) -> bytes:
            if path == "hangs":
                held.wait(30)
            return b"content"

    read = ImageReader(Hanging("here", None, "/"), 10, 0.2)
    for _ in range(MAX_TIMEOUTS - 1):
        with pytest.raises(ReadTimeoutError):
            read("hangs")
        assert read("is read") == b"content"
    for _ in range(MAX_TIMEOUTS - 1):
        with pytest.raises(ReadTimeoutError):
            read("hangs")
    with pytest.raises(SourceLostError, match=r"here does not respond: 3 images.*hangs"):
        read("hangs")
    held.set()
    read.close()


class Denying(LocalFileSystem):  # type: ignore[misc]
    """A file system that denies files named `denied…`, and all files once `denied` exists."""

    def _open(self, path: str, mode: str = "rb", **options: Any) -> Any:
        if Path(path).name.startswith("denied") or (Path(path).parent / "denied").exists():
            raise PermissionError(errno.EACCES, "Access Denied")
        return super()._open(path, mode, **options)


@pytest.fixture
def denying(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Source:
    """Object storage with three readable objects and three unreadable ones between them."""
    monkeypatch.setattr(uris, "FIRST_PAUSE_S", 0.001)
    for name in ("a", "denied1", "denied2", "denied3", "e", "f"):
        tiny_image(tmp_path / f"{name}.png", seed=1)
    filesystem = fs.PyFileSystem(fs.FSSpecHandler(Denying(skip_instance_cache=True)))
    return Source(f"deny://{tmp_path}", filesystem, str(tmp_path))


def read_all(source: Source) -> list[dict[str, str]]:
    paths = sorted(entry.path for entry in source.entries(Quality()))
    with tempfile.TemporaryDirectory() as folder:
        processed = process_block(source, Path(folder), paths)
    statuses = {row["path"]: row["status"] for row in processed.outcomes}
    return [{"path": path, "status": statuses.get(path, "read")} for path in paths]


def test_unreadable_objects_are_rows(denying: Source) -> None:
    assert not denying.local
    probed = with_probe(denying, ["none.png", "denied1.png", "e.png", "f.png"], 5)
    assert probed.probe == "e.png"
    found = {row["path"]: row["status"] for row in read_all(probed)}
    assert found == {
        **dict.fromkeys(["a.png", "e.png", "f.png"], "read"),
        **dict.fromkeys(["denied1.png", "denied2.png", "denied3.png"], "unreadable"),
    }


def test_denying_storage_is_lost(denying: Source) -> None:
    with pytest.raises(SourceLostError, match=r"3 images in a row failed\. denied3\.png: Access"):
        read_all(denying)
    probed = with_probe(denying, ["a.png"], 5)
    Path(denying.root, "denied").touch()
    with pytest.raises(SourceLostError, match=r"and so did a\.png, which was readable before"):
        read_all(probed)
    assert with_probe(denying, ["a.png", "e.png"], 5).probe is None


def test_source_lost_during_reads(denying: Source) -> None:
    root = Path(denying.root)
    on_disk = open_source(denying.root)
    assert on_disk.read("a.png")
    for file in root.iterdir():  # unmounted: the folder exists and is empty
        file.unlink()
    with pytest.raises(FileNotFoundError):
        denying.read("a.png")
    with pytest.raises(SourceLostError, match="is unavailable"):
        on_disk.read("a.png")
    root.rmdir()
    with pytest.raises(SourceLostError, match="is unavailable"):
        denying.read("a.png")
    with pytest.raises(SourceLostError, match="is unavailable"):
        on_disk.read("a.png")


def test_bad_sector_and_stale_mount(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tiny_image(tmp_path / "a.png", seed=1)
    for number, kind in ((errno.EIO, OSError), (errno.ESTALE, SourceLostError)):

        def fail(*_: object, number: int = number) -> bytes:
            raise OSError(number, os.strerror(number))

        monkeypatch.setattr(sources, "_read_file", fail)
        with pytest.raises(kind):
            open_source(str(tmp_path)).read("a.png")


def test_unreadable_labels_raise(tmp_path: Path) -> None:
    tiny_image(tmp_path / "a.png", seed=1)
    (tmp_path / "labels.csv").mkdir()
    with pytest.raises(SourceLostError, match=r"labels\.csv cannot be read"):
        find_labels(open_source(str(tmp_path)), Quality(), Selection())
    (tmp_path / "labels.csv").rmdir()
    (tmp_path / "labels.csv").write_text("what,ever\n")
    with pytest.raises(UserError, match=r"labels\.csv"):
        find_labels(open_source(str(tmp_path)), Quality(), Selection())


def test_labels_of_missing_images_are_counted(tmp_path: Path) -> None:
    (tmp_path / "labels.csv").write_text("path,emotion\na.png,happy\nb.png,fear\n")
    tiny_image(tmp_path / "a.png", seed=1)
    labels = find_labels(open_source(str(tmp_path)), Quality(), Selection())
    assert labels is not None
    assert labels["a.png"][:3] == (None, "happy", 5)
    request = SweepRequest(str(tmp_path), f"{tmp_path}-store", Settings(extract=FAST))
    with prepare_sweep(request) as sweep:
        list_source(sweep)
        plan_work(sweep)
        [irregularity] = sweep.quality.records()
    assert (irregularity["kind"], irregularity["examples"]) == ("unknown_path", ["b.png"])


def test_ckplus_labels(tiny_corpus: Path) -> None:
    source = open_source(str(next(tiny_corpus.rglob("cohn-kanade-images")).parent))
    labels = find_labels(source, Quality(), Selection())
    assert labels is not None
    assert labels.keys() <= {entry.path for entry in source.entries(Quality())}
    emotions = {label.emotion for label in labels.values() if label.emotion}
    assert "neutral" in emotions
    assert len(emotions) > 2


@pytest.mark.parametrize(
    ("uri", "expected"),
    [
        ("s3://KEY:SECRET@bucket/dump?region=eu", "s3://bucket/dump?region=eu"),
        ("s3://bucket/dump?secret_key=SECRET&scheme=http", "s3://bucket/dump?scheme=http"),
        ("abfs://box@account.example/dump", "abfs://box@account.example/dump"),
        ("abfs://box:SECRET@account.example/dump", "abfs://box@account.example/dump"),
        ("/data/with@sign", "/data/with@sign"),
    ],
)
def test_credentials_are_removed_from_uris(uri: str, expected: str) -> None:
    assert without_credentials(uri) == expected


@pytest.mark.thorough
def test_source_error_hides_credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UserError) as raised:
        open_source("s3://KEY:SECRET@fer/dump?endpoint_override=127.0.0.1:9&scheme=http")
    assert "SECRET" not in str(raised.value)


def test_causes_of_an_error_are_named() -> None:
    message = (
        "Generic error\n  \x1b[31m↳\x1b[0m Unable to copy\n   \x1b[31m↳\x1b[0m No space left\n"
    )
    assert error_text(OSError(message)) == "Generic error: Unable to copy: No space left"


def test_unsupported_store_uri_is_rejected() -> None:
    for uri in ("s3://KEY:SECRET@bucket/store", "s3://bucket/store?secret_key=SECRET"):
        with pytest.raises(UserError, match="AWS_SECRET_ACCESS_KEY") as raised:
            require_store_uri(uri)
        assert "SECRET@" not in str(raised.value)
        assert "=SECRET" not in str(raised.value)
    for uri in ("ftp://host/store", "s3://bucket/a%20b", "store[1]", "a%41b"):
        with pytest.raises(UserError, match="--store"):
            require_store_uri(uri)


@pytest.mark.parametrize("name", ["a store", "50% of it", "größe", "a#b", "a?b", "dots..", "a+b&c"])
def test_store_with_unusual_name(tmp_path: Path, name: str) -> None:
    table = pa.table({"path": ["a.png"]})
    opened = Store(f"{tmp_path}/{name}/")
    append(opened.snapshot("images"), opened, table)
    assert sorted(path.name for path in tmp_path.iterdir()) == [name]
    assert Store(f"{tmp_path}/{name}").snapshot("images").table.count() == 1


def test_folder_deleted_while_listed(tmp_path: Path) -> None:
    for number in range(5):
        tiny_image(tmp_path / f"{number}" / "a.png", seed=number)
    listing = open_source(str(tmp_path)).entries(Quality())
    first = next(listing).path
    for folder in tmp_path.iterdir():
        if not first.startswith(f"{folder.name}/"):
            shutil.rmtree(folder)
    started = time.monotonic()
    assert list(listing) == []
    assert time.monotonic() - started < 5
