"""A local S3 server, and a proxy that behaves like a busy service."""

import http.client
import random
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from socket import create_server
from threading import Thread

from tests.patience import patience

BUCKET = "fer"
SERVER = Path(__file__).with_name("clocked_s3.py")
BODY_503 = b"<Error><Code>SlowDown</Code><Message>Reduce your request rate.</Message></Error>"
HANGING_S = 3.0  # until a hanging connection is closed
HOP_BY_HOP = {"connection", "transfer-encoding", "keep-alive", "server", "date", "expect"}


def free_port() -> int:
    with create_server(("127.0.0.1", 0)) as taken:
        return int(taken.getsockname()[1])


@contextmanager
def s3_server(address: str = "127.0.0.1", wrap: Sequence[str] = ()) -> Iterator[int]:
    """Run an S3 server with an empty bucket; yields its port.

    Args:
        address: IP address that it listens on.
        wrap: Beginning of a command that runs on the host with that address.
    """
    port = free_port()
    command = [*wrap, sys.executable, str(SERVER), address, str(port)]
    quiet = subprocess.DEVNULL
    server = subprocess.Popen(command, stdout=quiet, stderr=quiet)
    try:
        for _ in range(int(patience(300))):
            try:
                client = http.client.HTTPConnection(address, port)
                client.request("PUT", f"/{BUCKET}")
                assert client.getresponse().status == 200
                break
            except OSError:
                time.sleep(0.1)
        yield port
    finally:
        server.kill()
        server.wait()


class Faulty(BaseHTTPRequestHandler):
    """Forwards requests, except that some are refused (503), hang, or are slow."""

    protocol_version = "HTTP/1.1"
    upstream: int
    draw: random.Random
    share: float
    done: Counter[str]

    def handle_one(self) -> None:
        body = self._body()
        fault = "none"
        if self.draw.random() < self.share:
            fault = self.draw.choice(("refused", "hung", "slow"))
        self.done[fault] += 1
        if fault == "refused":
            self._answer(503, [("Content-Type", "application/xml")], BODY_503)
        elif fault == "hung":
            time.sleep(HANGING_S)
            self.close_connection = True
        else:
            time.sleep(0.5 if fault == "slow" else 0)
            self._hand_on(body)

    do_GET = do_PUT = do_POST = do_DELETE = do_HEAD = handle_one  # noqa: N815

    def _body(self) -> bytes:
        if self.headers.get("Transfer-Encoding") != "chunked":
            return self.rfile.read(int(self.headers.get("Content-Length") or 0))
        parts = []
        while size := int(self.rfile.readline().split(b";")[0], 16):
            parts.append(self.rfile.read(size))
            self.rfile.readline()
        self.rfile.readline()
        return b"".join(parts)

    def _hand_on(self, body: bytes) -> None:
        client = http.client.HTTPConnection("127.0.0.1", self.upstream)
        sent = {
            name: value for name, value in self.headers.items() if name.lower() not in HOP_BY_HOP
        }
        client.request(self.command, self.path, body, sent)
        answer = client.getresponse()
        content = answer.read()
        headers = [(name, value) for name, value in answer.getheaders()
                   if name.lower() not in HOP_BY_HOP]  # fmt: skip
        self._answer(answer.status, headers, content)
        client.close()

    def _answer(self, status: int, headers: list[tuple[str, str]], content: bytes) -> None:
        self.send_response(status)
        for name, value in headers:
            if name.lower() != "content-length" or self.command == "HEAD":
                self.send_header(name, value)
        if self.command != "HEAD":
            self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)

    def log_message(self, *_: object) -> None:
        """Log nothing."""


@contextmanager
def faulty_proxy(upstream: int, share: float, seed: int) -> Iterator[tuple[int, Counter[str]]]:
    """Run a proxy of the server at port `upstream`; yields its port and the counts of faults."""
    done: Counter[str] = Counter()
    attributes = {"upstream": upstream, "draw": random.Random(seed), "share": share, "done": done}
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (Faulty,), attributes))
    Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield server.server_port, done
    finally:
        server.shutdown()
        server.server_close()


def environment(port: int, address: str = "127.0.0.1") -> dict[str, str]:
    """Environment variables for S3 clients of a server that `s3_server` started."""
    return {
        "AWS_ENDPOINT_URL": f"http://{address}:{port}",
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_REGION": "us-east-1",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_ALLOW_HTTP": "true",
        "AWS_EC2_METADATA_DISABLED": "true",
        "no_proxy": address,
    }
