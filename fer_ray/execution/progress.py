"""How a job tells that it advances, without knowing what shows it."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager

# Told how many more are done, and optionally a few words on how they came out.
Advance = Callable[..., None]
# Opens a progress display for a stage: its name, what it counts, and how many there are.
Progress = Callable[[str, str, int], AbstractContextManager[Advance]]


@contextmanager
def silent(name: str, unit: str, total: int) -> Iterator[Advance]:
    """A `Progress` that shows nothing."""
    yield lambda *_: None
