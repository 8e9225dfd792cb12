"""Progress of a job on a terminal or in a notebook: a line per stage."""

import logging
import sys
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from importlib import import_module
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, ProgressColumn, Task, TextColumn
from rich.text import Text

from fer_ray.execution.progress import Advance, silent
from fer_ray.execution.progress import Progress as ProgressDisplay

NOTEBOOK_S = 0.5  # between two updates of a line in a notebook
RESUMED_S = 0.5  # items that are done sooner were finished by an earlier job


@contextmanager
def open_display(hidden: bool = False) -> Iterator[ProgressDisplay]:
    """Open the display of a job, which shows at once that the job is starting.

    Nothing is shown in a pipe, as progress is for people.

    Args:
        hidden: Show nothing.

    Yields:
        The display, for `Progress` parameters.
    """
    display = create_display(hidden)
    if isinstance(display, TerminalBars):
        with display:
            yield display
    else:
        yield display


def create_display(hidden: bool = False) -> ProgressDisplay:
    """Create the display that suits this process, without showing the start of a job.

    Args:
        hidden: Show nothing.
    """
    if hidden:
        return silent
    if in_notebook():
        _silence_widgets()
        return notebook_line
    return TerminalBars() if sys.stderr.isatty() else silent


def _silence_widgets() -> None:
    """Silence the advice of Ray and tqdm to install widgets, which fer_ray does not use."""
    logging.getLogger("ray.widgets").setLevel(logging.ERROR)
    warnings.filterwarnings("ignore", message="IProgress not found")


def in_notebook() -> bool:
    """Return whether this process is the kernel of a notebook."""
    if "IPython" not in sys.modules:
        return False
    return hasattr(sys.modules["IPython"].get_ipython(), "kernel")


class TerminalBars:
    """A `Progress` that shows the stages of a job as bars on standard error.

    Finished stages stay visible; steps without a total disappear. Use it as a context manager to
    show the start of the job as well.
    """

    def __init__(self) -> None:
        self._bars = Progress(
            TextColumn("{task.description:8}"),
            BarColumn(),
            TextColumn("{task.fields[count]}"),
            TextColumn("{task.fields[rate]}"),
            _TimeColumn(),
            TextColumn("{task.fields[note]}"),
            console=Console(stderr=True),
        )
        self._open = 0  # stages and jobs that are shown

    def __enter__(self) -> "TerminalBars":
        self._enter()
        self._start: Any = self._add("starting", "", 0)
        return self

    def __exit__(self, *_: object) -> None:
        self._end_start()
        self._leave()

    @contextmanager
    def __call__(self, name: str, unit: str, total: int) -> Iterator[Advance]:
        """Show a stage inside the block."""
        self._enter()
        self._end_start()
        task, begun, resumed = self._add(name, unit, total), time.monotonic(), 0

        def advance(count: int, note: str = "") -> None:
            nonlocal resumed
            resumed += count if time.monotonic() - begun < RESUMED_S else 0
            self._bars.advance(task, count)
            _describe(self._bars, task, unit, note, resumed)

        try:
            yield advance
        finally:
            if not total:
                self._bars.remove_task(task)
            self._leave()

    def _add(self, name: str, unit: str, total: int) -> Any:
        count = f"0/{total} {unit}" if total else ""
        return self._bars.add_task(
            name, total=total or None, count=count, rate="", speed=0, note=""
        )

    def _end_start(self) -> None:
        if getattr(self, "_start", None) is not None:
            self._bars.remove_task(self._start)
            self._start = None

    def _enter(self) -> None:
        if not self._open:
            self._bars.start()
        self._open += 1

    def _leave(self) -> None:
        self._open -= 1
        if not self._open:
            self._bars.stop()


def _describe(bars: Progress, task_id: Any, unit: str, note: str, resumed: int) -> None:
    task = next(task for task in bars.tasks if task.id == task_id)
    total = f"/{task.total:.0f}" if task.total else ""
    done = task.completed - resumed
    speed = task.speed or (done / task.elapsed if task.elapsed else 0)
    bars.update(
        task_id,
        count=f"{task.completed:.0f}{total} {unit}",
        rate=f"{speed:.1f}/s" if speed else "",
        speed=speed,
        note=note,
    )


class _TimeColumn(ProgressColumn):
    """The estimated time left, or the time elapsed while it is unknown."""

    max_refresh = 0.5

    def render(self, task: Task) -> Text:
        """Format the time of a stage."""
        speed, remaining = task.speed or task.fields["speed"], task.remaining
        if not task.finished and speed and remaining is not None:
            return Text(f"{timedelta(seconds=int(remaining / speed))} left")
        return Text(str(timedelta(seconds=int(task.finished_time or task.elapsed or 0))))


@contextmanager
def notebook_line(name: str, unit: str, total: int) -> Iterator[Advance]:
    """A `Progress` that shows a stage as a line below a notebook's cell, without widgets."""
    notebook = import_module("IPython.display")  # not a dependency: the kernel has loaded it
    started, done, updated = time.monotonic(), 0, time.monotonic()
    handle: Any = notebook.display(_Line(f"{name} …"), display_id=True)

    def advance(count: int, note: str = "") -> None:
        nonlocal done, updated
        done += count
        if (now := time.monotonic()) - updated >= NOTEBOOK_S:
            updated = now
            handle.update(_Line(progress_text(name, unit, total, done, now - started, note)))

    yield advance
    handle.update(_Line(progress_text(name, unit, total, done, time.monotonic() - started)))


def progress_text(
    name: str, unit: str, total: int, done: int, seconds: float, note: str = ""
) -> str:
    """Describe the progress of a stage in one line.

    Args:
        name: Name of the stage.
        unit: What it counts.
        total: Number of items. 0: unknown.
        done: Number of finished items.
        seconds: Time elapsed.
        note: Text about the latest items.
    """
    if not total and not done:
        return f"{name}: {seconds:.1f} s"
    text = f"{name}: {done}{f'/{total}' if total else ''} {unit}, {seconds:.1f} s"
    if 0 < done < total:
        text += f", {timedelta(seconds=round(seconds / done * (total - done)))} left"
    return f"{text} {note}".rstrip()


class _Line:
    """A text that a notebook displays without quotes."""

    def __init__(self, text: str) -> None:
        self._text = text

    def __repr__(self) -> str:
        return self._text
