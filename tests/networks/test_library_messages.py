import subprocess
import sys

WRITES = """
import os, sys
from fer_ray.networks.library_messages import filter_stderr
with filter_stderr("^a notice", r"of \\d+ pools", progress_bars=True):
    os.write(2, b"a notice\\nwarning of 12 pools\\nan error\\n")
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


def test_only_matching_lines_are_dropped() -> None:
    assert sorted(written("sys.stderr.write('!\\n')").splitlines()) == [
        "after", "an error", "no line yet!"
    ]  # fmt: skip


def test_last_lines_arrive_if_the_process_dies() -> None:
    assert "an error\n" in written("os._exit(7)", code=7)


def test_stderr_is_restored_after_an_error() -> None:
    shown = written("raise SystemExit('stopped')", code=1)
    assert shown.endswith("stopped\n")
    assert "an error\n" in shown


def test_lines_arrive_during_the_block() -> None:
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


def test_log_handler_from_the_block_works_after_it() -> None:
    last = "import logging; logging.basicConfig()"
    program = WRITES.replace(", progress_bars=True", "") + "logging.warning('later')"
    done = subprocess.run(
        [sys.executable, "-c", program.format(last)], capture_output=True, text=True, timeout=60,
        check=True,
    )  # fmt: skip
    assert "later" in done.stderr
    assert "Traceback" not in done.stderr
