"""Work on one image at a time in a process of its own, so that a native fault costs one image.

A segmentation fault or an endless loop in a decoder cannot be caught from within. The child works;
the parent waits for its answer, and if none comes knows on which image, ends what is left of the
child, and goes on with another one. No Ray in here.
"""

import os
import pickle
import select
import signal
import struct
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from fer_ray.errors import UserError
from fer_ray.vocabulary import Status

START_SECONDS = 300  # for imports and models, on a machine that is busy
STARTS = 3  # of a child that dies before it works, as when memory is short for a moment
_HEADER = struct.Struct(">Q")

# From the bytes of an image to its rows. Told the stage that it enters.
Describe = Callable[[bytes, Callable[[str], None]], pa.Table]


@dataclass(frozen=True)
class Fault:
    """An image that could not be described.

    Attributes:
        status: crashed or timed_out.
        stage: The last stage that the child entered, "" before the first.
        error: What became of the child, or what it raised, in words.
    """

    status: Status
    stage: str
    error: str


class Guard:
    """Runs `describe` in a child process; use as a context.

    Args:
        describe: What is run: pickled, so a module-level function or an object of such a class.
        image_seconds: After which the child is killed and the image given up.
    """

    def __init__(self, describe: bytes, image_seconds: float) -> None:
        self._describe = describe
        self._seconds = image_seconds
        self._child: subprocess.Popen[bytes] | None = None

    def __call__(self, content: bytes) -> pa.Table | Fault:
        """The rows of one image, or what went wrong with it.

        Raises:
            UserError: The child cannot do its work at all, for lack of a model or of memory.
        """
        child = self._child or self._start()
        stage = ""
        deadline = time.monotonic() + self._seconds
        try:
            _send(child.stdin, content)
            while True:
                kind, answer = self._receive(child, deadline)
                if kind == "rows":
                    return answer
                if kind == "raised" and isinstance(answer, UserError):
                    raise answer
                if kind == "raised":
                    return Fault(Status.CRASHED, stage, str(answer))
                stage = answer
        except TimeoutError:
            self.close()
            return Fault(Status.TIMED_OUT, stage, f"no end after {self._seconds:g} s")
        except (EOFError, BrokenPipeError):
            return Fault(Status.CRASHED, stage, self._bury())
        except KeyboardInterrupt:  # the next image would be given the answer to this one
            self.close()
            raise

    def close(self) -> None:
        """End the child, if there is one."""
        if self._child is not None:
            self._child.kill()
            self._bury()

    def _start(self) -> subprocess.Popen[bytes]:
        for _ in range(STARTS):
            self._child = child = subprocess.Popen(
                [sys.executable, "-m", "fer_ray.execution.guard_process"],
                stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
                env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
            )  # fmt: skip
            try:
                _send(child.stdin, (self._describe, self._seconds))
                kind, answer = self._receive(child, time.monotonic() + START_SECONDS)
            except (EOFError, BrokenPipeError):
                ended = self._bury()
                continue
            except TimeoutError:
                self.close()
                raise UserError(
                    f"A worker's child process was not ready after {START_SECONDS} s."
                ) from None
            if kind == "raised":
                self.close()
                raise answer
            return child
        raise UserError(
            f"A worker's child process {ended} before it could work, {STARTS} times over. If the "
            "machine is short of memory, take fewer --workers."
        )

    def _receive(self, child: subprocess.Popen[bytes], deadline: float) -> tuple[str, Any]:
        size = _HEADER.unpack(_read(child.stdout, _HEADER.size, deadline))[0]
        message: tuple[str, Any] = pickle.loads(_read(child.stdout, size, deadline))
        return message

    def _bury(self) -> str:
        """How the child ended, in words."""
        assert self._child is not None
        child, self._child = self._child, None
        code = child.wait()
        for pipe in (child.stdin, child.stdout):
            try:
                pipe.close()  # type: ignore[union-attr]
            except BrokenPipeError:  # what was not sent yet
                continue
        return f"died of {signal.Signals(-code).name}" if code < 0 else f"ended with {code}"


def _read(pipe: Any, size: int, deadline: float) -> bytes:
    """Exactly `size` bytes of a pipe, by the deadline."""
    parts: list[bytes] = []
    while size:
        left = deadline - time.monotonic()
        if left <= 0 or not select.select([pipe], [], [], left)[0]:
            raise TimeoutError
        part = os.read(pipe.fileno(), min(size, 1 << 20))
        if not part:
            raise EOFError
        parts.append(part)
        size -= len(part)
    return b"".join(parts)


def _send(pipe: Any, message: Any) -> None:
    data = pickle.dumps(message, protocol=5)
    pipe.write(_HEADER.pack(len(data)) + data)
    pipe.flush()


def serve() -> None:
    """What the child does: images in, rows out, until the parent closes the pipe or is gone."""
    images = os.fdopen(os.dup(0), "rb")
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # whatever a library prints does not get between the answers
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's to answer
    try:
        packed, seconds = _next(images)
        describe: Describe = pickle.loads(packed)
        getattr(describe, "load", lambda: None)()
        _send(answers, ("ready", None))
    except Exception as problem:
        _send(answers, ("raised", _portable(problem)))
        return
    while True:
        try:
            content = _next(images)
        except EOFError:
            return
        # Should the parent be killed while this loops for ever, the clock ends it: SIGALRM's
        # default is to end the process, also within native code.
        signal.setitimer(signal.ITIMER_REAL, seconds + 10)
        try:
            rows = describe(content, lambda stage: _send(answers, ("stage", stage)))
            _send(answers, ("rows", rows))
        except Exception as problem:
            _send(answers, ("raised", _portable(problem)))
        signal.setitimer(signal.ITIMER_REAL, 0)


def _next(pipe: Any) -> Any:
    header = pipe.read(_HEADER.size)
    if len(header) < _HEADER.size:
        raise EOFError
    return pickle.loads(pipe.read(_HEADER.unpack(header)[0]))


def _portable(problem: Exception) -> Exception:
    """The same kind of exception, with nothing in it that could not be sent."""
    if isinstance(problem, UserError):
        return UserError(str(problem))
    return RuntimeError(f"{type(problem).__name__}: {problem}"[:500])
