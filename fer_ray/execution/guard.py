"""Processing of single images in a child process, so that a crash in native code loses one image.

A segmentation fault or an endless loop in a decoder cannot be caught within a process. The child
processes one image at a time. If it dies or does not answer in time, the parent records the fault
of that image, kills the child and starts another one. Does not use Ray.
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
from typing import TYPE_CHECKING, Any

from fer_ray.errors import UserError
from fer_ray.process_environment import fixed_environment, import_paths
from fer_ray.vocabulary import Status

if TYPE_CHECKING:  # a child process starts before its parent has imported heavy libraries
    import pyarrow as pa

START_SECONDS = 300  # for imports and models, on a busy machine
ATTEMPTS = 3  # per image whose child process dies
STARTS = 3  # attempts if the child dies before it is ready, e.g. when memory is briefly short
HEADER = struct.Struct(">Q")

# Turns an image (its bytes, or its row of a listing) into its rows; calls its second argument with
# each stage it enters.
Describe = Callable[[Any, Callable[[str], None]], "pa.Table"]

_ahead: list[subprocess.Popen[bytes]] = []  # started, but not used by a guard yet
_shared: dict[tuple[bytes, float], "Guard"] = {}  # at most one per process, reused between tasks


@dataclass(frozen=True)
class Fault:
    """An image that could not be processed.

    Attributes:
        status: crashed or timed_out.
        stage: The last stage that the child entered, "" before the first.
        error: How the child ended, or the exception that it raised.
    """

    status: Status
    stage: str
    error: str


class Guard:
    """Runs `describe` in a child process. Call `close` when done.

    Args:
        describe: The pickled function to run: of a module, or an instance of a module's class.
        image_seconds: Time limit per image, after which the child is killed.
    """

    def __init__(self, describe: bytes, image_seconds: float) -> None:
        self._describe = describe
        self._seconds = image_seconds
        self._child: subprocess.Popen[bytes] | None = None

    def __call__(self, image: Any) -> "pa.Table | Fault":
        """The rows of one image, or its fault.

        Args:
            image: The argument of `describe`; it must be picklable.

        Raises:
            UserError: The child cannot work at all: a model is missing, or memory is short.
        """
        child = self._child or self._start()
        stage = ""
        deadline = time.monotonic() + self._seconds
        try:
            send(child.stdin, image)
            while True:
                kind, message = self._receive(child, deadline)
                if kind == "rows":
                    return message
                if kind == "raised" and isinstance(message, UserError):
                    raise message
                if kind == "raised":
                    return Fault(Status.CRASHED, stage, str(message))
                stage = message
        except TimeoutError:
            self.close()
            return Fault(Status.TIMED_OUT, stage, f"timed out after {self._seconds:g} s")
        except (EOFError, BrokenPipeError):
            return Fault(Status.CRASHED, stage, self._reap())
        except KeyboardInterrupt:  # otherwise the next image would receive this one's message
            self.close()
            raise

    def close(self) -> None:
        """Kill the child process, if one is running."""
        if self._child is not None:
            self._child.kill()
            self._reap()

    def _start(self) -> subprocess.Popen[bytes]:
        for _ in range(STARTS):
            self._child = child = _ahead.pop() if _ahead else _spawn()
            try:
                send(child.stdin, (self._describe, self._seconds))
                kind, message = self._receive(child, time.monotonic() + START_SECONDS)
            except (EOFError, BrokenPipeError):
                ending = self._reap()
                continue
            except TimeoutError:
                self.close()
                raise UserError(
                    f"A worker's child process was not ready after {START_SECONDS} s. Check the "
                    "load of the machine."
                ) from None
            if kind == "raised":
                self.close()
                raise message
            return child
        raise UserError(
            f"A worker's child process {ending} before it was ready, {STARTS} times. If the "
            "machine is short of memory, reduce --workers."
        )

    def _receive(self, child: subprocess.Popen[bytes], deadline: float) -> tuple[str, Any]:
        size = HEADER.unpack(_read(child.stdout, HEADER.size, deadline))[0]
        message: tuple[str, Any] = pickle.loads(_read(child.stdout, size, deadline))
        return message

    def _reap(self) -> str:
        """Wait for the child to end and describe how it ended."""
        assert self._child is not None
        child, self._child = self._child, None
        code = child.wait()
        for pipe in (child.stdin, child.stdout):
            try:
                pipe.close()  # type: ignore[union-attr]
            except BrokenPipeError:  # unsent data
                continue
        return f"died of {signal.Signals(-code).name}" if code < 0 else f"exited with {code}"


def _spawn() -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        # -P: the current folder is not searched before `import_paths`.
        [sys.executable, "-P", "-m", "fer_ray.execution.guard_process"],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
        env={**fixed_environment(os.environ), "PYTHONPATH": os.pathsep.join(import_paths())},
    )  # fmt: skip


def start_ahead() -> None:
    """Start a child process for the next guard, so that both processes import at the same time.

    It ends with this process, or with `stop_ahead`.
    """
    _ahead.append(_spawn())


def stop_ahead() -> None:
    """End child processes that no guard needs."""
    while _ahead:
        child = _ahead.pop()
        child.kill()
        child.communicate()


def shared_guard(describe: bytes, image_seconds: float) -> Guard:
    """The guard of this process; later tasks reuse its child process."""
    key = describe, image_seconds
    if key not in _shared:
        for outdated in _shared.values():
            outdated.close()
        _shared.clear()
        _shared[key] = Guard(describe, image_seconds)
    return _shared[key]


def describe_guarded(guard: Guard, image: Any) -> "pa.Table | Fault":
    """The rows of one image, retried if its child process dies.

    The system may kill a child when memory is short, but is unlikely to do so `ATTEMPTS` times.
    """
    for _ in range(ATTEMPTS):
        answer = guard(image)
        if not isinstance(answer, Fault) or answer.status == Status.TIMED_OUT:
            break
    return answer


def _read(pipe: Any, size: int, deadline: float) -> bytes:
    """Read exactly `size` bytes from a pipe before the deadline."""
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


def send(pipe: Any, message: Any) -> None:
    """Write a message, preceded by its length."""
    data = pickle.dumps(message, protocol=5)
    pipe.write(HEADER.pack(len(data)) + data)
    pipe.flush()
