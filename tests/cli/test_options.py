"""Options are derived from the fields of the settings models."""

from collections.abc import Iterator
from typing import Any

import click
import pytest

from fer_ray.cli.main import cli
from fer_ray.cli.setting_options import SettingOption, field_of
from fer_ray.settings.loading import load_settings


def setting_options() -> Iterator[SettingOption]:
    """One option of each setting that has one, of the first command that has it."""
    commands = reversed(cli.commands.values())
    options = [option for command in commands for option in command.params]
    by_setting = {item.setting: item for item in options if isinstance(item, SettingOption)}
    yield from by_setting.values()


OPTIONS = {option.setting: option for option in setting_options()}


def value_of(settings: Any, setting: str) -> Any:
    for part in setting.split("."):
        settings = getattr(settings, part)
    return settings


def test_many_settings_have_an_option() -> None:
    assert len(OPTIONS) > 30


@pytest.mark.parametrize("setting", OPTIONS)
def test_help_describes_the_setting(setting: str) -> None:
    option = OPTIONS[setting]
    default = field_of(setting).default
    assert option.help
    if isinstance(default, str):
        assert option.help.endswith(f"[default: {default}]")


@pytest.mark.parametrize("setting", OPTIONS)
def test_every_choice_is_a_valid_setting(setting: str) -> None:
    option = OPTIONS[setting]
    if isinstance(option.type, click.Choice):
        for choice in option.type.choices:
            settings = load_settings(None, (option.override(choice),))
            assert value_of(settings, setting) == choice


@pytest.mark.parametrize(
    ("setting", "value", "expected"),
    [
        ("trials.kernels", "linear,rbf", ("linear", "rbf")),
        ("search.feature_sets", "hog,hog+landmarks", ("hog", "hog+landmarks")),
        ("deep.backbones", ("vgg16", "dlib_resnet=/a.dat"), ("vgg16", "dlib_resnet=/a.dat")),
        ("trials.gamma", "0.25", 0.25),
        ("trials.C", "0.5", 0.5),
        ("trials.classes", "7", "7"),
        ("recommended", True, True),
        ("execution.workers", 3, 3),
    ],
)
def test_values_of_options_become_settings(setting: str, value: Any, expected: Any) -> None:
    settings = load_settings(None, (OPTIONS[setting].override(value),))
    assert value_of(settings, setting) == expected


def test_earlier_name_of_recommended() -> None:
    (option,) = [one for one in cli.commands["run"].params if "--beyond" in one.opts]
    assert isinstance(option, SettingOption)
    assert option.hidden
    assert load_settings(None, (option.override(True),)).recommended
