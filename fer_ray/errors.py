"""What a user can put right, told apart from bugs; and the codes that a command ends with."""

from fer_ray.vocabulary import ExitCode


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
