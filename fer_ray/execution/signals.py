"""Handling of SIGTERM and SIGINT before, while and after Ray starts."""

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from fer_ray.errors import StoppedError
from fer_ray.vocabulary import ExitCode


def on_main_thread() -> bool:
    """Return whether this thread may set signal handlers."""
    return threading.current_thread() is threading.main_thread()


@contextmanager
def handle_sigterm(handler: Callable[..., Any]) -> Iterator[None]:
    """Call `handler` on SIGTERM inside the block; the previous handler is restored after it."""
    if not on_main_thread():
        yield
        return
    previous = signal.signal(signal.SIGTERM, handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, previous)


def terminate(*_: object) -> None:
    """Exit with `ExitCode.TERMINATED` after all cleanup; a signal handler."""
    raise SystemExit(ExitCode.TERMINATED)


@contextmanager
def sigterm_delivered_after() -> Iterator[None]:
    """Let SIGTERM stop a job inside the block, then have the effect that it has in this process.

    For jobs in a program of the user: if the program has no handler, it ends, but only
    after the job has stored its finished work and shut Ray down.

    Raises:
        StoppedError: SIGTERM stopped the job, and the program's own handler has returned.
    """
    if not on_main_thread():
        yield
        return
    own = signal.getsignal(signal.SIGTERM)
    stopped = False
    try:
        yield
    except (StoppedError, SystemExit) as problem:
        stopped = isinstance(problem, StoppedError) or problem.code == ExitCode.TERMINATED
        if not stopped:
            raise
    finally:
        signal.signal(signal.SIGTERM, own if own is not None else signal.SIG_DFL)
    if stopped:
        signal.raise_signal(signal.SIGTERM)
        raise StoppedError(
            "SIGTERM stopped the job. Its finished work is stored: call the same function again to "
            "resume."
        )


@contextmanager
def defer_signals() -> Iterator[None]:
    """Defer SIGTERM and SIGINT to the end of the block: an exception would break Ray's start."""
    if not on_main_thread():
        yield
        return
    received: list[int] = []
    handlers = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    for number in handlers:
        signal.signal(number, lambda number, _: received.append(number))
    try:
        with ray_handlers_disabled():
            yield
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)
    if signal.SIGTERM in received:
        terminate()
    if received:
        raise KeyboardInterrupt


@contextmanager
def ray_handlers_disabled() -> Iterator[None]:
    """Prevent Ray from setting its SIGTERM handler, which exits with another code."""
    from ray._private import utils

    set_handler, utils.set_sigterm_handler = utils.set_sigterm_handler, lambda _: None
    try:
        yield
    finally:
        utils.set_sigterm_handler = set_handler
