"""Errors that the user can fix, each with the exit code of the command that it ends."""

import re
from collections.abc import Iterable
from difflib import get_close_matches

from fer_ray.vocabulary import ExitCode

_COLOURS = re.compile(r"\x1b\[[0-9;]*m")


class UserError(Exception):
    """An error that the user can fix. Its message says how; commands show it without a traceback.

    Attributes:
        exit_code: Exit code of a command that this error ends.
    """

    exit_code = ExitCode.USER_ERROR


class MismatchError(UserError):
    """The output folder contains results from other settings or other data."""

    exit_code = ExitCode.MISMATCH


class SourceLostError(UserError):
    """The source cannot be listed or read, or has lost images that it contained before."""

    exit_code = ExitCode.SOURCE_LOST


class StoreLostError(UserError):
    """The store of results, or another place in an object store, cannot be read or written."""

    exit_code = ExitCode.STORE_LOST


class StoppedError(UserError):
    """SIGTERM stopped a sweep, or a job of the Python API; finished work is stored."""

    exit_code = ExitCode.STOPPED


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """A question to append to a message about an unknown name; empty if no known one is similar.

    Examples:
        >>> did_you_mean("Agee", ["site", "age"])
        ' Did you mean age?'
    """
    names = {one.lower(): one for one in known}
    similar = get_close_matches(name.lower(), names, 1)
    return f" Did you mean {names[similar[0]]}?" if similar else ""


def error_text(error: BaseException) -> str:
    r"""The first line of an error's message and its causes, without colours.

    At most 300 characters.

    Examples:
        >>> error_text(OSError("Generic error\n  ↳ Unable to copy data\n   ↳ No space left"))
        'Generic error: Unable to copy data: No space left'
    """
    text = getattr(error, "strerror", None) or str(error) or type(error).__name__
    first, *others = _COLOURS.sub("", text).strip().splitlines()
    causes = [line.strip()[2:] for line in others if line.strip().startswith("↳ ")]
    return ": ".join([first, *causes])[:300]
