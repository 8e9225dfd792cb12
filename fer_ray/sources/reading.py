"""Reading images in time: a file that cannot be read costs itself, a lost storage is told."""

import queue
import threading
from collections.abc import Iterable
from contextlib import closing, suppress
from dataclasses import replace
from typing import Any

from fer_ray.errors import SourceLostError
from fer_ray.sources.locations import Source
from fer_ray.storage.uris import told

HANGS = 3  # reads in a row without an end: then it is the storage, and not the file
FAILURES = 3  # reads in a row that fail: then the source's witness is asked for, which tells


class HungError(Exception):
    """A read had no end in time."""


class Reader:
    """Reads images of a source, by a thread that is left behind where a read has no end.

    Args:
        source: Where they lie.
        most: Bytes that are of use; see `Source.read`.
        seconds: After which a read is given up.
    """

    def __init__(self, source: Source, most: int, seconds: float) -> None:
        self._source, self._most, self._seconds = source, most, seconds
        self._hung = self._failed = 0
        self._asked: queue.SimpleQueue[str | None] | None = None
        self._answers: queue.SimpleQueue[Any] = queue.SimpleQueue()

    def __call__(self, path: str) -> bytes:
        """The content of one image.

        Raises:
            HungError: It has no end.
            OSError: It cannot be read.
            SourceLostError: The storage is gone, or does not answer any more.
        """
        answer = self._answer(path)
        self._failed = self._failed + 1 if _failed(answer) else 0
        if self._failed == FAILURES:
            self._require_witness(path, answer)
        if isinstance(answer, BaseException):
            raise answer
        return answer  # type: ignore[no-any-return]

    def _require_witness(self, path: str, problem: Any) -> None:
        """See that what could be read still can be: then those that failed do so on their own."""
        self._failed, witness = 0, self._source.witness
        try:
            lost = witness is None or _failed(self._answer(witness))
        except HungError:
            lost = True
        if lost:
            raise SourceLostError(
                f"{self._source.uri} cannot be read: {FAILURES} images in a row failed"
                f"{f', and {witness}, which could be read before' if witness else ''}. "
                f"{path}: {told(problem).rstrip('.')}."
            )

    def _answer(self, path: str) -> Any:
        """The content, or what was raised."""
        if self._asked is None:
            self._asked, self._answers = queue.SimpleQueue(), queue.SimpleQueue()
            served = (self._source, self._most, self._asked, self._answers)
            threading.Thread(target=_serve, args=served, daemon=True).start()
        self._asked.put(path)
        try:
            answer = self._answers.get(timeout=self._seconds)
        except queue.Empty:
            self._asked, self._hung = None, self._hung + 1
            if self._hung == HANGS:
                raise SourceLostError(
                    f"{self._source.uri} does not answer: {HANGS} images in a row could not be "
                    f"read within {self._seconds:g} s, the last one {path}."
                ) from None
            raise HungError from None
        self._hung = 0
        return answer

    def close(self) -> None:
        """Let the thread end."""
        if self._asked is not None:
            self._asked.put(None)
            self._asked = None


def witnessed(source: Source, paths: Iterable[str], seconds: float) -> Source:
    """The source with the first of some images that can be read as its witness, if one can be.

    Args:
        source: Where they lie.
        paths: Of these images.
        seconds: After which a read is given up, and the search with it.
    """
    with suppress(HungError):
        for path in paths:
            with closing(Reader(source, 0, seconds)) as read, suppress(OSError):
                read(path)
                return replace(source, witness=path)
    return source


def _failed(answer: Any) -> bool:
    """Whether a read failed, though the storage seems to be there."""
    return isinstance(answer, OSError) and not isinstance(answer, FileNotFoundError)


def _serve(
    source: Source,
    most: int,
    asked: "queue.SimpleQueue[str | None]",
    answers: "queue.SimpleQueue[Any]",
) -> None:
    while (path := asked.get()) is not None:
        try:
            answers.put(source.read(path, most))
        except Exception as problem:
            answers.put(problem)
