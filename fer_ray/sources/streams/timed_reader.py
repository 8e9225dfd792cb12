"""Read images with a time limit, and distinguish unreadable files from an unavailable source."""

import queue
import threading
from collections.abc import Iterable
from contextlib import closing, suppress
from dataclasses import replace
from typing import Any

from fer_ray.errors import SourceLostError, error_text
from fer_ray.sources.streams.image_source import Source

MAX_TIMEOUTS = 3  # consecutive reads that time out before the source counts as unavailable
MAX_FAILURES = 3  # consecutive reads that fail before the source's probe is read


class ReadTimeoutError(Exception):
    """A read took longer than its time limit."""


class ImageReader:
    """Reads images of a source in a thread, which is abandoned if a read times out.

    Args:
        source: Source of the images.
        max_bytes: Size limit; see `Source.read`.
        seconds: Time limit of a read.
    """

    def __init__(self, source: Source, max_bytes: int, seconds: float) -> None:
        self._source, self._max_bytes, self._seconds = source, max_bytes, seconds
        self._timeouts = self._failures = 0
        self._requests: queue.SimpleQueue[str | None] | None = None
        self._results: queue.SimpleQueue[Any] = queue.SimpleQueue()

    def __call__(self, path: str) -> bytes:
        """Read the content of one image.

        Raises:
            ReadTimeoutError: The read timed out.
            OSError: The image cannot be read.
            SourceLostError: The source is unavailable.
        """
        result = self._read(path)
        self._failures = self._failures + 1 if _is_failure(result) else 0
        if self._failures == MAX_FAILURES:
            self._failures = 0
            self._require_probe(path, result)
        if isinstance(result, BaseException):
            raise result
        return result  # type: ignore[no-any-return]

    def _require_probe(self, path: str, problem: Any) -> None:
        """Read the probe: if that works, the images that failed are unreadable themselves."""
        probe = self._source.probe
        try:
            lost = probe is None or _is_failure(self._read(probe))
        except ReadTimeoutError:
            lost = True
        if lost:
            raise SourceLostError(
                f"{self._source.uri} cannot be read: {MAX_FAILURES} images in a row failed"
                f"{f', and so did {probe}, which was readable before' if probe else ''}. "
                f"{path}: {error_text(problem).rstrip('.')}."
            )

    def _read(self, path: str) -> Any:
        """The content of an image, or the exception that reading it raised."""
        if self._requests is None:
            self._requests, self._results = queue.SimpleQueue(), queue.SimpleQueue()
            arguments = (self._source, self._max_bytes, self._requests, self._results)
            threading.Thread(target=_serve, args=arguments, daemon=True).start()
        self._requests.put(path)
        try:
            result = self._results.get(timeout=self._seconds)
        except queue.Empty:
            self._requests, self._timeouts = None, self._timeouts + 1
            if self._timeouts == MAX_TIMEOUTS:
                raise SourceLostError(
                    f"{self._source.uri} does not respond: {MAX_TIMEOUTS} images in a row could "
                    f"not be read within {self._seconds:g} s, the last one {path}."
                ) from None
            raise ReadTimeoutError from None
        self._timeouts = 0
        return result

    def close(self) -> None:
        """Stop the thread."""
        if self._requests is not None:
            self._requests.put(None)
            self._requests = None


def with_probe(source: Source, paths: Iterable[str], seconds: float) -> Source:
    """Choose a probe for a source: the first of the candidates that can be read.

    Args:
        source: Source of the images.
        paths: Candidates, relative to the source.
        seconds: Time limit of a read; the search ends with the first read that times out.

    Returns:
        The source with that probe, or unchanged if no candidate can be read.
    """
    with suppress(ReadTimeoutError):
        for path in paths:
            with closing(ImageReader(source, 0, seconds)) as read, suppress(OSError):
                read(path)
                return replace(source, probe=path)
    return source


def _is_failure(result: Any) -> bool:
    """Return whether a read failed for a reason other than a deleted file."""
    return isinstance(result, OSError) and not isinstance(result, FileNotFoundError)


def _serve(
    source: Source,
    max_bytes: int,
    requests: "queue.SimpleQueue[str | None]",
    results: "queue.SimpleQueue[Any]",
) -> None:
    while (path := requests.get()) is not None:
        try:
            results.put(source.read(path, max_bytes))
        except Exception as problem:
            results.put(problem)
