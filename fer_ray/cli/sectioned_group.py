"""A group of commands whose help lists them in sections."""

from typing import Any

import click

FURTHER = "Further commands"


class SectionedGroup(click.Group):
    """A group whose help lists its commands in sections, each with its complete first sentence.

    Attributes:
        sections: Names of the commands of each section, in order. Other commands are listed last.
    """

    def __init__(self, *arguments: Any, **attributes: Any) -> None:
        super().__init__(*arguments, **attributes)
        self.sections: dict[str, tuple[str, ...]] = {}

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the commands by section."""
        listed = {name for names in self.sections.values() for name in names}
        rest = tuple(name for name in self.list_commands(ctx) if name not in listed)
        for title, names in {**self.sections, FURTHER: rest}.items():
            rows = [(name, _first_sentence(self.commands[name])) for name in names]
            if rows:
                with formatter.section(title):
                    formatter.write_dl(rows)


def _first_sentence(command: click.Command) -> str:
    return command.get_short_help_str(limit=1_000)
