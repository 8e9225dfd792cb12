"""Errors of a command as messages on standard error, with their exit codes."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager

import click

from fer_ray.cli.given_paths import as_given
from fer_ray.errors import UserError
from fer_ray.vocabulary import ExitCode


@contextmanager
def errors_as_messages() -> Iterator[None]:
    """Print user errors of the block as one message each, without a traceback.

    Raises:
        SystemExit: With the exit code of an error.
    """
    try:
        yield
    except UserError as error:
        click.echo(f"fer-ray: {as_given(error)}", err=True)
        sys.exit(error.exit_code)
    except PermissionError as error:
        path = as_given(error.filename or error)
        click.echo(
            f"fer-ray: {path}: permission denied. Grant access to it, or run the command as a user "
            "who has it.",
            err=True,
        )
        sys.exit(UserError.exit_code)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except (click.Abort, KeyboardInterrupt):
        click.echo(
            "fer-ray: interrupted. Finished work is stored: rerun the same command to resume.",
            err=True,
        )
        sys.exit(ExitCode.INTERRUPTED)
