"""Interface through which jobs report progress, independent of its display."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from contextvars import ContextVar

# Called with the number of items just finished, and optionally a short text about them.
Advance = Callable[..., None]
# Opens the display of a stage: its name, the unit that it counts, and the total (0: unknown).
Progress = Callable[[str, str, int], AbstractContextManager[Advance]]


@contextmanager
def silent(name: str, unit: str, total: int) -> Iterator[Advance]:
    """A `Progress` that shows nothing."""
    yield lambda *_: None


_current: ContextVar[Progress] = ContextVar("progress", default=silent)


@contextmanager
def shown_on(progress: Progress) -> Iterator[None]:
    """Show the steps of `step` on a display inside the block."""
    token = _current.set(progress)
    try:
        yield
    finally:
        _current.reset(token)


def step(name: str, unit: str = "", total: int = 0) -> AbstractContextManager[Advance]:
    """Show a step, such as the start of Ray, on the display of the current job.

    Args:
        name: Its name.
        unit: What it counts, if it has items.
        total: Number of items; 0 if unknown.
    """
    return _current.get()(name, unit, total)
