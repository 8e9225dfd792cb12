"""Processing of images in a child process, so that a crash in native code loses one image.

A segmentation fault or an endless loop in a decoder cannot be caught within a process. The child
processes a batch of images and reports the one that it has reached. If it dies or does not answer
in time, the parent knows which image caused it, kills the child and starts another one. Does not
use Ray.
"""

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from fer_ray.errors import UserError
from fer_ray.execution.pipe_messages import countdown, receive, send
from fer_ray.execution.stage_events import StageEvent, StageReader, running_clock
from fer_ray.process_environment import fixed_environment, import_paths
from fer_ray.vocabulary import Stage, Status

if TYPE_CHECKING:  # a child process starts before its parent has imported heavy libraries
    import pyarrow as pa

START_SECONDS = 300  # for imports and models, on a busy machine
STARTS = 3  # attempts if the child dies before it is ready, e.g. when memory is briefly short

# Turns images (their bytes or paths) into their rows; calls its second argument with the number of
# an image, or None for all, and with the stage that begins.
Steps = Callable[[list[Any], Callable[[int | None, Stage], None]], "pa.Table"]

_ahead: list["_Child"] = []  # started, but not used by a guard yet
_lock = threading.Lock()
_idle: list[tuple[object, "Guard"]] = []  # guards of earlier tasks; their children are running


@dataclass(frozen=True)
class Fault:
    """An image that could not be processed.

    Attributes:
        status: crashed or timed_out.
        stage: The last stage that the child entered, "" before the first.
        error: How the child ended, or the exception that it raised.
        image: Number of the image in its batch; None if the child was not processing a single one.
    """

    status: Status
    stage: str
    error: str
    image: int | None = None


@dataclass(frozen=True)
class _Child:
    process: subprocess.Popen[bytes]
    stages: StageReader


class Guard:
    """Runs `steps` in a child process. Call `close` when done.

    Args:
        steps: The pickled function to run: of a module, or an instance of a module's class.
        image_seconds: Time limit per image, after which the child is killed. The time in which it
            waits for a CPU does not count.
    """

    def __init__(self, steps: bytes, image_seconds: float) -> None:
        self._steps = steps
        self._seconds = image_seconds
        self._child: _Child | None = None

    def __call__(self, images: list[Any]) -> "pa.Table | Fault":
        """The rows of a batch of images, or the fault that ended its processing.

        Args:
            images: The argument of `steps`; it must be picklable.

        Raises:
            UserError: The child cannot work at all: a model is missing, or memory is short.
        """
        child = self._child or self._start()
        pid = child.process.pid
        child.stages.start(running_clock(pid))

        def left() -> float:
            return child.stages.latest().seconds + self._seconds - running_clock(pid)

        try:
            send(child.process.stdin, images)
            kind, message = receive(child.process.stdout, left)
        except TimeoutError:
            _, image, stage = child.stages.latest()
            self.close()
            error = f"timed out after {self._seconds:g} s"
            return Fault(Status.TIMED_OUT, stage, error, image)
        except (EOFError, BrokenPipeError):
            ending, (_, image, stage) = self._reap()
            return Fault(Status.CRASHED, stage, ending, image)
        except KeyboardInterrupt:  # otherwise the next batch would receive this one's message
            self.close()
            raise
        if kind == "rows":
            return message
        if isinstance(message, UserError):
            raise message
        _, image, stage = child.stages.latest()
        return Fault(Status.CRASHED, stage, str(message), image)

    def close(self) -> None:
        """Kill the child process, if one is running."""
        if self._child is not None:
            self._child.process.kill()
            self._reap()

    def _start(self) -> _Child:
        for _ in range(STARTS):
            self._child = child = _ahead.pop() if _ahead else _spawn()
            left = countdown(START_SECONDS)
            try:
                send(child.process.stdin, (self._steps, self._seconds))
                kind, message = receive(child.process.stdout, left)
            except (EOFError, BrokenPipeError):
                ending, _ = self._reap()
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

    def _reap(self) -> tuple[str, StageEvent]:
        """Wait for the child to end; describe how it ended, and its latest event."""
        assert self._child is not None
        child, self._child = self._child, None
        code = child.process.wait()
        for pipe in (child.process.stdin, child.process.stdout):
            try:
                pipe.close()  # type: ignore[union-attr]
            except BrokenPipeError:  # unsent data
                continue
        latest = child.stages.latest()
        child.stages.close()
        ending = f"died of {signal.Signals(-code).name}" if code < 0 else f"exited with {code}"
        return ending, latest


def _spawn() -> _Child:
    stages = StageReader()
    try:
        process = subprocess.Popen(
            # -P: the current folder is not searched before `import_paths`.
            [sys.executable, "-P", "-m", "fer_ray.execution.guard_process", str(stages.fd)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
            env={**fixed_environment(os.environ), "PYTHONPATH": os.pathsep.join(import_paths())},
            pass_fds=(stages.fd,),
        )  # fmt: skip
    finally:
        os.close(stages.fd)
    return _Child(process, stages)


def start_ahead() -> None:
    """Start a child process for the next guard, so that both processes import at the same time.

    It ends with this process, or with `stop_ahead`.
    """
    _ahead.append(_spawn())


def stop_ahead() -> None:
    """End child processes that no guard needs."""
    while _ahead:
        child = _ahead.pop()
        child.process.kill()
        child.process.communicate()
        child.stages.close()


@contextmanager
def borrow_guard(steps: bytes, image_seconds: float) -> Iterator[Guard]:
    """A guard for the arguments; later blocks, of any thread, reuse its child process.

    The child has the environment of its start, for example the credentials of an object store.
    """
    key = steps, image_seconds, frozenset(fixed_environment(os.environ).items())
    with _lock:
        fitting = [guard for other, guard in _idle if other == key]
        outdated = [guard for other, guard in _idle if other != key]
        guard = fitting.pop() if fitting else Guard(steps, image_seconds)
        _idle[:] = [(key, one) for one in fitting]
    for other in outdated:
        other.close()
    try:
        yield guard
    except BaseException:  # a thread may still be using it
        guard.close()
        raise
    with _lock:
        _idle.append((key, guard))


def trim_idle_guards(keep: int = 1) -> None:
    """End the child processes of guards that no task uses, except for the last `keep`."""
    with _lock:
        most = max(0, len(_idle) - keep)
        outdated, _idle[:] = _idle[:most], _idle[most:]
    for _, guard in outdated:
        guard.close()
