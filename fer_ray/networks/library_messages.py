"""Filter for lines that native libraries write to stderr regardless of their log settings.

TensorFlow logs before its own log levels apply, and Ray's core worker logs at a level that real
errors share. Python's logging sees neither.
"""

import contextlib
import os
import subprocess
import sys
from collections.abc import Iterator

DRAIN_S = 2  # a process started inside the block may keep the pipe open
FILTER = """
import re, sys
dropped = re.compile("|".join(sys.argv[1:]).encode())
for line in sys.stdin.buffer:
    if not dropped.search(line):
        sys.stdout.buffer.write(line)
        sys.stdout.buffer.flush()
"""


@contextlib.contextmanager
def filter_stderr(*patterns: str, progress_bars: bool = False) -> Iterator[None]:
    """Drop matching lines from the stderr of this process, including its native code.

    A child process filters the lines, so the last ones arrive even if this process dies.

    Args:
        patterns: Regular expressions, searched in each line.
        progress_bars: Whether progress bars are shown inside the block. They do not end their
            lines, so `sys.stderr` then bypasses the filter.
    """
    original, before = os.dup(2), sys.stderr
    child = subprocess.Popen(
        [sys.executable, "-ISc", FILTER, *patterns],
        stdin=subprocess.PIPE,
        stdout=original,
        start_new_session=True,  # Ctrl-C is for this process alone
    )
    assert child.stdin is not None
    if progress_bars and _is_file_descriptor_2(before):
        # Stays open: a thread may be about to write to it.
        sys.stderr = open(original, "w", buffering=1, errors="backslashreplace", closefd=False)  # noqa: SIM115
    os.dup2(child.stdin.fileno(), 2)
    try:
        yield
    finally:
        os.dup2(original, 2)
        if sys.stderr is before:
            os.close(original)
        sys.stderr = before
        child.stdin.close()
        with contextlib.suppress(subprocess.TimeoutExpired):
            child.wait(DRAIN_S)


def _is_file_descriptor_2(stream: object) -> bool:
    try:
        return stream.fileno() == 2  # type: ignore[attr-defined, no-any-return]
    except (AttributeError, OSError):
        return False
