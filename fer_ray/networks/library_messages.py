"""Lines that libraries write to the error stream, whatever their settings, and none can act on."""

import contextlib
import os
import subprocess
import sys
from collections.abc import Iterator

SORTED_S = 2  # a process that was started meanwhile may hold the stream open
SORT = """
import re, sys
left_out = re.compile("|".join(sys.argv[1:]).encode())
for line in sys.stdin.buffer:
    if not left_out.search(line):
        sys.stdout.buffer.write(line)
        sys.stdout.buffer.flush()
"""


@contextlib.contextmanager
def without_notices(*patterns: str, bars: bool = False) -> Iterator[None]:
    """Keep lines that match from the error stream of this process, and nothing else.

    A process of its own sorts them out, so that what is written last gets through if this one ends
    there.

    Args:
        patterns: Regular expressions.
        bars: Whether progress is shown meanwhile, which does not end its lines: what is written to
            `sys.stderr` then goes straight to where it went before.
    """
    shown, before = os.dup(2), sys.stderr
    sorting = subprocess.Popen(
        [sys.executable, "-ISc", SORT, *patterns],
        stdin=subprocess.PIPE,
        stdout=shown,
        start_new_session=True,  # an interrupt from the keyboard is for this process alone
    )
    assert sorting.stdin is not None
    if bars and _is_the_stream(before):
        # Stays open: a thread may be about to write to it.
        sys.stderr = open(shown, "w", buffering=1, errors="backslashreplace", closefd=False)  # noqa: SIM115
    os.dup2(sorting.stdin.fileno(), 2)
    try:
        yield
    finally:
        os.dup2(shown, 2)
        if sys.stderr is before:
            os.close(shown)
        sys.stderr = before
        sorting.stdin.close()
        with contextlib.suppress(subprocess.TimeoutExpired):
            sorting.wait(SORTED_S)


def _is_the_stream(stream: object) -> bool:
    try:
        return stream.fileno() == 2  # type: ignore[attr-defined, no-any-return]
    except (AttributeError, OSError):
        return False
