"""Interface through which jobs report progress, independent of its display."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager

# Called with the number of items just finished, and optionally a short text about them.
Advance = Callable[..., None]
# Opens the display of a stage: its name, the unit that it counts, and the total.
Progress = Callable[[str, str, int], AbstractContextManager[Advance]]


@contextmanager
def silent(name: str, unit: str, total: int) -> Iterator[Advance]:
    """A `Progress` that shows nothing."""
    yield lambda *_: None
