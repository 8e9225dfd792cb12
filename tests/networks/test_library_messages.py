import subprocess
import sys

WRITES = """
import os, sys
from fer_ray.networks.library_messages import without_notices
with without_notices("^a notice", r"of \\d+ pools", bars=True):
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


def test_a_line_arrives_while_the_block_is_still_at_work() -> None:
    last = "import logging, time; logging.warning('waiting'); time.sleep(60)"
    program = WRITES.replace("with without", "import logging; logging.basicConfig()\nwith without")
    process = subprocess.Popen(
        [sys.executable, "-c", program.format(last)], stderr=subprocess.PIPE, text=True
    )
    try:
        assert process.stderr is not None
        assert any("waiting" in line for line in process.stderr)
        assert process.poll() is None
    finally:
        process.kill()
        process.wait()


def test_a_handler_that_was_made_within_can_be_used_after() -> None:
    last = "import logging; logging.basicConfig()"
    program = WRITES.replace(", bars=True", "") + "logging.warning('later')"
    done = subprocess.run(
        [sys.executable, "-c", program.format(last)], capture_output=True, text=True, timeout=60,
        check=True,
    )  # fmt: skip
    assert "later" in done.stderr
    assert "Traceback" not in done.stderr
