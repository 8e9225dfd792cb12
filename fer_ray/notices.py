"""Lines that libraries write to the error stream, whatever their settings, and none can act on."""

import contextlib
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator

SORTED_S = 2  # a process that was started meanwhile may hold the stream open


@contextlib.contextmanager
def without_notices(*patterns: str) -> Iterator[None]:
    """Keep lines that match from the error stream of this process, and nothing else.

    A process of its own sorts them out, so that what is written last gets through if this one ends
    there. What Python writes goes straight to where it went before: progress bars are no lines.

    Args:
        patterns: Basic regular expressions.
    """
    sed = shutil.which("sed")
    if sed is None:
        yield
        return
    shown, before = os.dup(2), sys.stderr
    command = [sed, *(part for pattern in patterns for part in ("-e", f"/{pattern}/d"))]
    sorting = subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=shown, stderr=shown, start_new_session=True
    )
    assert sorting.stdin is not None
    if _is_the_stream(before):
        sys.stderr = open(os.dup(shown), "w", buffering=1, errors="backslashreplace")  # noqa: PTH123, SIM115
    os.dup2(sorting.stdin.fileno(), 2)
    try:
        yield
    finally:
        os.dup2(shown, 2)
        os.close(shown)
        if sys.stderr is not before:
            sys.stderr.close()
            sys.stderr = before
        sorting.stdin.close()
        with contextlib.suppress(subprocess.TimeoutExpired):
            sorting.wait(SORTED_S)


def _is_the_stream(stream: object) -> bool:
    try:
        return stream.fileno() == 2  # type: ignore[attr-defined, no-any-return]
    except (AttributeError, OSError):
        return False
