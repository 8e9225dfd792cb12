"""Options that take several values in a row, as in `--train A B`."""

import click


class RepeatedOptions(click.Command):
    """A command in which options with a metavar such as `RUN...` take several values in a row.

    These options have `multiple`, and `--train A B` then means the same as `--train A --train B`.
    Such a command takes no arguments.
    """

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Repeat the flag before each further value, then parse as usual."""
        flags = {
            flag
            for option in self.params
            if isinstance(option, click.Option) and (option.metavar or "").endswith("...")
            for flag in option.opts
        }
        return super().parse_args(ctx, repeat_flags(args, flags))


def repeat_flags(args: list[str], flags: set[str]) -> list[str]:
    """Insert a flag before each value after its first.

    Args:
        args: Arguments of a command line.
        flags: The flags that take several values.

    Examples:
        >>> repeat_flags(["--train", "a", "b", "--out", "c"], {"--train"})
        ['--train', 'a', '--train', 'b', '--out', 'c']
    """
    repeated: list[str] = []
    flag, values = "", 0
    for arg in args:
        if arg.startswith("-"):
            flag, values = (arg if arg in flags else ""), 0
        elif flag:
            repeated += [flag] * (values > 0)
            values += 1
        repeated.append(arg)
    return repeated
