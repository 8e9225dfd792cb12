"""What a user can put right, told apart from bugs; and the codes that a command ends with."""

from enum import IntEnum


class ExitCode(IntEnum):
    """What a command ends with; the one list of them."""

    DONE = 0
    FAILED = 1  # `doctor` or a verification found something amiss, or a bug
    USER_ERROR = 2  # a mistake in what was asked for, or something is missing
    MISMATCH = 3  # the output holds work made from other settings or images
    TOO_MANY_ERRORS = 4  # a sweep: committed, but more images failed than --max-error-share
    SOURCE_LOST = 5  # a sweep: the source cannot be listed or read, or is suspiciously empty
    STORE_LOST = 6  # a sweep: the store cannot be read or written
    FUSE = 7  # a sweep: the first images all raised the same error; nothing was committed
    STOPPED = 75  # a sweep: SIGTERM; what was finished is committed (EX_TEMPFAIL: try again)
    INTERRUPTED = 130
    TERMINATED = 143


class UserError(Exception):
    """A mistake or a lack that the user can mend; its text says how. Shown without a traceback."""

    exit_code = ExitCode.USER_ERROR


class MismatchError(UserError):
    """The output folder holds work made from other settings or other data."""

    exit_code = ExitCode.MISMATCH


class SourceLostError(UserError):
    """The images' storage cannot be listed or read, or no longer holds what it held."""

    exit_code = ExitCode.SOURCE_LOST


class StoreLostError(UserError):
    """The store of results cannot be read or written."""

    exit_code = ExitCode.STORE_LOST


class StoppedError(UserError):
    """A sweep was told to end, and did so in good order."""

    exit_code = ExitCode.STOPPED
