"""Reading images in time: a file that does not answer costs itself, a mount that hangs is told."""

import queue
import threading
from typing import Any

from fer_ray.errors import SourceLostError
from fer_ray.sweep.source import Source

HANGS = 3  # reads in a row without an end: then it is the storage, and not the file


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
        self._hung = 0
        self._asked: queue.SimpleQueue[str | None] | None = None
        self._answers: queue.SimpleQueue[Any] = queue.SimpleQueue()

    def __call__(self, path: str) -> bytes:
        """The content of one image.

        Raises:
            HungError: It has no end.
            OSError: It cannot be read.
            SourceLostError: The storage is gone, or does not answer any more.
        """
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
        if isinstance(answer, BaseException):
            raise answer
        return answer  # type: ignore[no-any-return]

    def close(self) -> None:
        """Let the thread end."""
        if self._asked is not None:
            self._asked.put(None)
            self._asked = None


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
