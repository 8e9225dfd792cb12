import subprocess
import sys

WRITES = """
import os, sys
from fer_ray.notices import without_notices
with without_notices("^a notice", "of [0-9]* pools"):
    os.write(2, b"a notice\\nwarning of 12 pools\\na mistake\\n")
    print("no line yet", end="", file=sys.stderr)
    {}
os.write(2, b"after\\n")
"""


def written(last: str, code: int = 0) -> str:
    done = subprocess.run(
        [sys.executable, "-c", WRITES.format(last)], capture_output=True, text=True, timeout=60
    )
    assert done.returncode == code
    return done.stderr


def test_lines_that_match_are_left_out_and_no_others() -> None:
    assert sorted(written("sys.stderr.write('!\\n')").splitlines()) == [
        "a mistake", "after", "no line yet!"
    ]  # fmt: skip


def test_what_was_written_gets_through_when_the_process_ends_within() -> None:
    assert "a mistake\n" in written("os._exit(7)", code=7)


def test_an_error_leaves_the_stream_as_it_was() -> None:
    shown = written("raise SystemExit('stopped')", code=1)
    assert shown.endswith("stopped\n")
    assert "a mistake\n" in shown
