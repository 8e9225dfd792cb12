"""Google's XML protocol on loopback: a proxy that translates it for a local S3 server.

The protocols differ in the names of headers, and in conditions: Google compares generations.
"""

import json
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import ThreadingHTTPServer
from itertools import count
from pathlib import Path
from threading import Lock, Thread
from urllib.parse import urlsplit

from tests.pipelines.sweeps.s3 import Faulty, s3_server

UNMET = b"<Error><Code>PreconditionFailed</Code><Message>Wrong generation.</Message></Error>"

SIGNED = (
    "AWS4-HMAC-SHA256 Credential=test/20260101/us-east-1/s3/aws4_request, "
    "SignedHeaders=host, Signature=0"
)


class GoogleXml(Faulty):
    """Forwards requests to S3, and keeps the generations of objects."""

    numbers = count(1)
    generations: Counter[str]
    writing = Lock()

    def handle_one(self) -> None:
        body, key, changes = self._body(), urlsplit(self.path).path, self.command in ("PUT", "POST")
        whole_object = changes and "partNumber" not in self.path and "uploads" not in self.path
        condition = self.headers.get("x-goog-if-generation-match")
        del self.headers["Authorization"]  # of clients that write; others send none
        self.headers["Authorization"] = SIGNED
        if source := self.headers.get("x-goog-copy-source"):
            self.headers["x-amz-copy-source"] = source
        with self.writing:
            if condition is not None and int(condition) != self.generations[key]:
                self._answer(412, [("Content-Type", "application/xml")], UNMET)
                return
            if whole_object:
                self.generations[key] = next(self.numbers)
            elif self.command == "DELETE":
                del self.generations[key]
            self._hand_on(body)

    do_GET = do_PUT = do_POST = do_DELETE = do_HEAD = handle_one  # noqa: N815

    def end_headers(self) -> None:
        """Add the generation of the object."""
        if generation := self.generations[urlsplit(self.path).path]:
            self.send_header("x-goog-generation", str(generation))
        super().end_headers()


@contextmanager
def google_environment(folder: Path) -> Iterator[dict[str, str]]:
    """Run a server with the bucket `gs://fer`; yields the environment variables of its clients.

    Args:
        folder: Where the key of a service account is stored.
    """
    with s3_server() as upstream:
        own = {"upstream": upstream, "generations": Counter[str]()}
        server = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (GoogleXml,), own))
        Thread(target=server.serve_forever, daemon=True).start()
        account = {
            "gcs_base_url": f"http://127.0.0.1:{server.server_port}",
            "disable_oauth": True,
            **dict.fromkeys(("client_email", "private_key", "private_key_id"), ""),
        }
        key = folder / "account.json"
        key.write_text(json.dumps(account))
        try:
            yield {"GOOGLE_SERVICE_ACCOUNT": str(key), "AWS_ALLOW_HTTP": "true"}
        finally:
            server.shutdown()
            server.server_close()
