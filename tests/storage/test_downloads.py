"""Downloads from a server on loopback: resumed, verified, forbidden."""

import hashlib
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest

from fer_ray.storage import downloads
from fer_ray.storage.downloads import PublishedFile, UnreachableError, download

CONTENT = np.random.default_rng(0).bytes(3_000_000)
KNOWN_HASH = f"sha256:{hashlib.sha256(CONTENT).hexdigest()}"
PARTIAL = ".model.bin.part"


@dataclass
class FileServer:
    """How the server answers, and the requests that it received.

    Attributes:
        url: Of the file.
        with_ranges: Whether it supports byte ranges.
        cut_after: Bytes after which the next response ends early; None: it is complete.
        starts: First byte of each response.
    """

    url: str = ""
    with_ranges: bool = True
    cut_after: int | None = None
    starts: list[int] = field(default_factory=list)


@pytest.fixture
def server() -> Iterator[FileServer]:
    state = FileServer()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            wanted = self.headers.get("Range", "").removeprefix("bytes=").removesuffix("-")
            start = int(wanted) if wanted and state.with_ranges else 0
            state.starts.append(start)
            self.send_response(206 if start else 200)
            self.send_header("Content-Length", str(len(CONTENT) - start))
            self.end_headers()
            body, cut = CONTENT[start:], state.cut_after
            state.cut_after = None
            self.wfile.write(body if cut is None else body[:cut])

        def log_message(self, *_: object) -> None:
            pass

    running = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=running.serve_forever, daemon=True).start()
    state.url = f"http://127.0.0.1:{running.server_port}/model.bin"
    yield state
    running.shutdown()
    running.server_close()


@pytest.fixture(autouse=True)
def one_attempt(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(downloads, "RETRIES", 0)
    monkeypatch.delenv("FER_RAY_OFFLINE", raising=False)


def fetch(server: FileServer, folder: Path) -> Path:
    file = folder / "model.bin"
    return download(
        PublishedFile("the model", server.url, KNOWN_HASH, file, "FER_RAY_MODELS", "--file")
    )


@pytest.mark.parametrize("with_ranges", [True, False])
def test_interrupted_download_is_resumed(
    server: FileServer, tmp_path: Path, with_ranges: bool
) -> None:
    server.with_ranges, server.cut_after = with_ranges, 2_000_000
    with pytest.raises(UnreachableError, match="run the command again to resume"):
        fetch(server, tmp_path)
    received = (tmp_path / PARTIAL).stat().st_size
    assert 0 < received <= 2_000_000
    assert fetch(server, tmp_path).read_bytes() == CONTENT
    assert server.starts == [0, received if with_ranges else 0]
    assert not (tmp_path / PARTIAL).exists()


def test_interrupted_download_is_retried(
    server: FileServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(downloads, "RETRIES", 1)
    server.cut_after = 2_000_000
    assert fetch(server, tmp_path).read_bytes() == CONTENT
    assert len(server.starts) == 2
    assert server.starts[1] > 0


def test_corrupt_partial_file_is_discarded(server: FileServer, tmp_path: Path) -> None:
    (tmp_path / PARTIAL).write_bytes(b"\0" * 1_000_000)
    with pytest.raises(UnreachableError, match="sends a different file"):
        fetch(server, tmp_path)
    assert not (tmp_path / "model.bin").exists()
    assert fetch(server, tmp_path).read_bytes() == CONTENT
    assert server.starts == [1_000_000, 0]


@pytest.mark.parametrize(("value", "forbidden"), [("1", True), ("0", False), ("", False)])
def test_offline_forbids_downloads(
    server: FileServer,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    value: str,
    forbidden: bool,
) -> None:
    monkeypatch.setenv("FER_RAY_OFFLINE", value)
    if forbidden:
        with pytest.raises(UnreachableError, match=r"FER_RAY_OFFLINE forbids it[\s\S]*model\.bin"):
            fetch(server, tmp_path)
    else:
        fetch(server, tmp_path)
    assert server.starts == ([] if forbidden else [0])


def test_stored_file_is_used_offline(
    server: FileServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "model.bin").write_bytes(CONTENT)
    monkeypatch.setenv("FER_RAY_OFFLINE", "1")
    assert fetch(server, tmp_path) == tmp_path / "model.bin"
