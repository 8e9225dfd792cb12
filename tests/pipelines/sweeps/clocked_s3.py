"""moto's server, which also refuses requests of clients whose clocks are wrong, as S3 does.

python clocked_s3.py ADDRESS PORT
"""

import sys
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from typing import Any

from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app
from werkzeug.serving import run_simple

MAX_SKEW_S = 900
SKEWED = (
    b"<Error><Code>RequestTimeTooSkewed</Code><Message>The difference between the request time and "
    b"the current time is too large.</Message></Error>"
)


class Clocked:
    """A WSGI application that compares the time of a signed request with its own."""

    def __init__(self, application: Callable[..., Iterable[bytes]]) -> None:
        self._application = application

    def __call__(self, environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        if signed := environ.get("HTTP_X_AMZ_DATE"):
            time = datetime.strptime(signed, "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)
            if abs((datetime.now(UTC) - time).total_seconds()) > MAX_SKEW_S:
                start_response("403 Forbidden", [("Content-Type", "application/xml")])
                return [SKEWED]
        return self._application(environ, start_response)


if __name__ == "__main__":
    application = Clocked(DomainDispatcherApplication(create_backend_app))
    run_simple(sys.argv[1], int(sys.argv[2]), application, threaded=True)
