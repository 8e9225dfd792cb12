"""Options that set a setting, and the settings from a command line.

Such an option is declared by the name of the setting and its flags. Type, choices, default and help
text come from the field of the settings model.
"""

import json
from collections.abc import Callable
from types import NoneType
from typing import Any, Literal, TypeVar, get_args, get_origin

import click
from pydantic import BaseModel
from pydantic.fields import FieldInfo

from fer_ray.settings.loading import load_settings
from fer_ray.settings.root import Settings

Command = TypeVar("Command", bound=Callable[..., Any])


class SettingOption(click.Option):
    """An option that sets a setting.

    Attributes:
        setting: Name of the setting, such as `trials.C`.
    """

    def __init__(self, *arguments: Any, setting: str, **attributes: Any) -> None:
        super().__init__(*arguments, **attributes)
        self.setting = setting

    def override(self, value: Any) -> str:
        """Return the argument of `--set` that sets this option to a value."""
        is_list = get_origin(field_of(self.setting).annotation) is tuple and not self.multiple
        return f"{self.setting}={f'[{value}]' if is_list else json.dumps(value)}"


def setting_option(setting: str, *flags: str, **attributes: Any) -> Callable[[Command], Command]:
    """Build the option that sets a setting.

    Args:
        setting: Name of the setting, such as `trials.C`.
        flags: Flags of the option, such as `--C`, and optionally the name of its parameter.
        attributes: Attributes of `click.Option`, which take precedence over those of the setting.
    """
    field = field_of(setting)
    derived = {"type": _parameter_type(field), "default": None, "help": _help_text(field)}
    if attributes.get("multiple"):
        derived["help"] += " May be repeated."
    return click.option(*flags, cls=SettingOption, setting=setting, **{**derived, **attributes})


def field_of(setting: str) -> FieldInfo:
    """Look up the model field of a setting, such as `trials.C`."""
    *sections, name = setting.split(".")
    model: type[BaseModel] = Settings
    for section in sections:
        model = model.model_fields[section].annotation  # type: ignore[assignment]
    return model.model_fields[name]


def _parameter_type(field: FieldInfo) -> Any:
    """Return the click type of a setting; the model checks ranges when it validates the value."""
    if get_origin(field.annotation) is tuple:
        return str
    types = [part for part in get_args(field.annotation) if part is not NoneType]
    is_optional = NoneType in get_args(field.annotation)
    is_choice = get_origin(field.annotation) is Literal
    base = types[0] if types and not is_choice else field.annotation
    if is_choice or (is_optional and get_origin(base) is Literal):
        return click.Choice(get_args(base))
    return base if base in (bool, int, float) else str


def _help_text(field: FieldInfo) -> str:
    parts = [field.description or ""]
    if get_origin(field.annotation) is tuple and field.default:
        values = get_args(get_args(field.annotation)[0])
        parts.append(f" Comma-separated: {', '.join(values)}." if values else " Comma-separated.")
    if default := _default_text(field.default):
        parts.append(f"  [default: {default}]")
    return "".join(parts)


def _default_text(default: Any) -> str:
    if default is None or isinstance(default, bool):
        return ""
    if isinstance(default, tuple):
        return ",".join(_default_text(value) for value in default)
    return f"{default:g}" if isinstance(default, float) else str(default)


def settings_from(options: dict[str, Any]) -> Settings:
    """Load the settings of the current command.

    `--set` takes precedence over `--settings`, and other options over both.

    Args:
        options: Values of all options that set a setting, and of `--settings` and `--set` if the
            command has them.

    Raises:
        UserError: A setting is unknown or out of range.
    """
    command = click.get_current_context().command
    setting_options = {
        option.name: option for option in command.params if isinstance(option, SettingOption)
    }
    overrides = [*options.pop("overrides", ())]
    file = options.pop("settings_file", None)
    for name, value in options.items():
        if value is not None and value != ():
            overrides.append(setting_options[name].override(value))
    return load_settings(file, tuple(overrides))
