"""What SIGTERM and SIGINT do to a job: before, while and after Ray starts."""

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from fer_ray.vocabulary import ExitCode


def on_main_thread() -> bool:
    """Whether signals can be answered here at all."""
    return threading.current_thread() is threading.main_thread()


@contextmanager
def answered(by: Callable[..., Any]) -> Iterator[None]:
    """SIGTERM calls `by`; afterwards what it called before."""
    if not on_main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, by)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def terminate(*_: object) -> None:
    """End the process by its own code, with everything cleaned up on the way."""
    raise SystemExit(ExitCode.TERMINATED)


@contextmanager
def answered_later() -> Iterator[None]:
    """Signals that come meanwhile are answered at the end: Ray's start survives no exception.

    Ray would set a handler of its own for SIGTERM, which ends the process with another code.
    """
    if not on_main_thread():
        yield
        return
    from ray._private import utils

    came: list[int] = []
    before = {one: signal.getsignal(one) for one in (signal.SIGTERM, signal.SIGINT)}
    rays_own, utils.set_sigterm_handler = utils.set_sigterm_handler, lambda _: None
    for one in before:
        signal.signal(one, lambda number, _: came.append(number))
    try:
        yield
    finally:
        utils.set_sigterm_handler = rays_own
        for one, handler in before.items():
            signal.signal(one, handler)
    if signal.SIGTERM in came:
        terminate()
    if came:
        raise KeyboardInterrupt
