"""What a user can put right, told apart from bugs."""


class UserError(Exception):
    """A mistake or a lack that the user can mend; its text says how. Shown without a traceback."""

    exit_code = 2


class MismatchError(UserError):
    """The output folder holds work made from other settings or other data."""

    exit_code = 3
