"""The child process of `guard`: `python -m fer_ray.execution.guard_process FD`.

FD is the file descriptor of the pipe for events (`stage_events`).
"""

import os
import pickle
import signal
import sys
from typing import Any

from fer_ray.errors import UserError
from fer_ray.execution.guard import Steps
from fer_ray.execution.pipe_messages import receive, send
from fer_ray.execution.stage_events import StageWriter
from fer_ray.vocabulary import Stage

ORPHAN_LIMIT = 10  # multiple of the time limit, since a busy machine makes an image take longer


def serve() -> None:
    """Main loop of the child: images in, rows out, until the parent closes the pipe or dies."""
    images = os.fdopen(os.dup(0), "rb")
    messages = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # output of libraries must not mix with the messages
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent handles Ctrl-C
    try:
        pickled, seconds = receive(images)
    except EOFError:  # the parent did not need this process
        return
    try:
        steps: Steps = pickle.loads(pickled)
        getattr(steps, "load", lambda: None)()
        send(messages, ("ready", None))
    except Exception as problem:
        send(messages, ("raised", _picklable(problem)))
        return
    while True:
        try:
            batch = receive(images)
        except EOFError:
            return
        send(messages, _answer(steps, batch, seconds))


def _answer(steps: Steps, batch: list[Any], seconds: float) -> tuple[str, Any]:
    report = StageWriter(int(sys.argv[1]))

    def enter(image: int | None, stage: Stage) -> None:
        # Ends this process if the parent is killed during an endless loop: the default action of
        # SIGALRM works in native code too.
        signal.setitimer(signal.ITIMER_REAL, ORPHAN_LIMIT * seconds)
        report(image, stage)

    try:
        return "rows", steps(batch, enter)
    except Exception as problem:
        return "raised", _picklable(problem)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)


def _picklable(problem: Exception) -> Exception:
    """An exception of the same kind, with its text only."""
    if isinstance(problem, UserError):
        return type(problem)(str(problem))
    return RuntimeError(f"{type(problem).__name__}: {problem}"[:500])


if __name__ == "__main__":
    # Every child process needs it. One that starts ahead imports it while its parent is busy.
    import cv2

    import fer_ray.features.image_steps  # noqa: F401
    from fer_ray.process_environment import fix_environment

    fix_environment()

    cv2.setNumThreads(1)  # a worker has one CPU; OpenCV would use all of them
    serve()
