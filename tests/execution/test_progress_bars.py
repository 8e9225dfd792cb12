"""Progress on a terminal and in a notebook."""

import io
import re
import time

import pytest
from rich.console import Console

from fer_ray.execution import progress_bars
from fer_ray.execution.progress import shown_on, step
from fer_ray.execution.progress_bars import TerminalBars, progress_text


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> io.StringIO:
    """A terminal of 100 columns that bars are drawn on."""
    screen = io.StringIO()
    monkeypatch.setattr(
        progress_bars, "Console", lambda **_: Console(file=screen, force_terminal=True, width=100)
    )
    return screen


def test_start_of_a_job_is_shown_first(terminal: io.StringIO) -> None:
    with TerminalBars() as bars, shown_on(bars):
        assert "starting" in terminal.getvalue()
        with bars("extract", "images", 3) as advance:
            with step("start Ray"):
                bars._bars.refresh()
                assert "start Ray" in terminal.getvalue()
            advance(2)
            advance(1, "done")
    last = terminal.getvalue().rpartition("extract")[2]
    assert "3/3 images" in last
    assert "done" in last
    assert "start Ray" not in last


def test_first_result_gives_an_estimate(
    terminal: io.StringIO, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(progress_bars, "RESUMED_S", 0.0)
    with TerminalBars()("extract", "images", 100) as advance:
        time.sleep(0.05)
        advance(5)
    assert re.search(r"0:00:0\d left", terminal.getvalue())


def test_steps_outside_of_a_job_show_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    with step("start Ray"):
        pass
    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize(
    ("total", "done", "seconds", "text"),
    [
        (10, 0, 0.5, "extract: 0/10 images, 0.5 s"),
        (10, 5, 4.0, "extract: 5/10 images, 4.0 s, 0:00:04 left"),
        (10, 10, 8.0, "extract: 10/10 images, 8.0 s"),
        (0, 7, 2.0, "extract: 7 images, 2.0 s"),
        (0, 0, 2.0, "extract: 2.0 s"),
    ],
)
def test_line_of_a_notebook(total: int, done: int, seconds: float, text: str) -> None:
    assert progress_text("extract", "images", total, done, seconds) == text
