"""Options that several commands share, and the settings that they set.

An option that sets a setting is declared by the name of the setting and its flags. Type, choices,
default and help text come from the field of the settings model.
"""

import json
from collections.abc import Callable
from pathlib import Path
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
        """The text that `--set` takes for a value of this option."""
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
    """The click type of a setting. Ranges are left to the model, which validates all values."""
    if get_origin(field.annotation) is Literal:
        return click.Choice(get_args(field.annotation))
    types = [part for part in get_args(field.annotation) if part is not NoneType]
    base = types[0] if types else field.annotation
    if base is Path:
        return click.Path(path_type=str)
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
        return ",".join(default)
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


def _combine(*options: Callable[[Command], Command]) -> Callable[[Command], Command]:
    def add(command: Command) -> Command:
        for option in reversed(options):
            command = option(command)
        return command

    return add


OUT = click.option("--out", type=click.Path(path_type=Path), required=True, help="Run folder.")
DATA = click.option(
    "--data", type=click.Path(path_type=Path), required=True,
    help="A CK+ tree, a folder of images (in folders named after emotions, or with a labels.csv), "
    "or a CSV file.",
)  # fmt: skip
IMAGES_MOVED = click.option(
    "--data", type=click.Path(path_type=Path), help="Where the images are now, if they have moved."
)
JSON = click.option("--json", "as_json", is_flag=True, help="Print only the result, as JSON.")
SHOW_FACES = click.option(
    "--show-faces", is_flag=True, help="Show faces of your data in the report (CK+ permits few)."
)
STRICT = click.option(
    "--strict", is_flag=True,
    help="Reject splits that share a subject, sequence or picture between training and test.",
)  # fmt: skip
MODEL = click.option(
    "--model", type=click.Path(path_type=Path), metavar="BUNDLE",
    help="Add the predictions of this bundle, and extract with its settings.",
)  # fmt: skip
WEIGHTS = click.option(
    "--weights", multiple=True, metavar="BACKBONE=FILE",
    help="Weights of a backbone of the bundle.  [default: the published ones]",
)  # fmt: skip
LAYOUT = setting_option("extract.selection.layout", "--layout")
LANDMARK_MODEL = setting_option("extract.landmarks.model", "--landmark-model")
FACES = setting_option("sweep.faces", "--faces")
WORKERS = setting_option("execution.workers", "--workers")
GPUS = setting_option("execution.gpus_per_worker", "--gpus-per-worker")
PROFILE = setting_option("profile", "--profile")
BEYOND = setting_option("beyond", "--beyond/--study-only")

COMMON = _combine(
    click.option(
        "--settings", "settings_file", type=click.Path(path_type=Path), metavar="FILE.yaml",
        help="Read settings from a YAML file.",
    ),
    click.option(
        "--set", "overrides", multiple=True, metavar="NAME=VALUE",
        help="Any setting, e.g. trials.C=0.5. May be repeated.",
    ),
    WORKERS,
    JSON,
)  # fmt: skip
EXTRACT = _combine(
    PROFILE,
    LANDMARK_MODEL,
    LAYOUT,
    setting_option("extract.selection.frames", "--frames"),
    setting_option("extract.selection.neutral_seed", "--neutral-seed"),
    click.option("--fresh", is_flag=True, help="Replace the results of another run in --out."),
    click.option(
        "--export-crops", type=click.Path(path_type=Path), metavar="DIR",
        help="Write face crops as DIR/EMOTION/*.png.",
    ),
)  # fmt: skip
SPLITS = _combine(
    setting_option("trials.protocol", "--protocol"),
    setting_option("trials.classes", "--classes"),
    setting_option("trials.folds", "--folds", metavar="FILE.csv"),
    setting_option("trials.n_trials", "--trials", "n_trials"),
    setting_option("trials.seed", "--seed"),
)
TRIALS = _combine(
    SPLITS,
    setting_option("trials.feature_set", "--feature-set"),
    setting_option("trials.kernels", "--kernels"),
    setting_option("trials.scale", "--scale"),
    setting_option("trials.C", "--C", "c"),
    setting_option("trials.augment", "--augment"),
    setting_option("trials.gamma", "--gamma"),
)
SEARCH = _combine(
    SPLITS,
    setting_option("search.configurations", "--configurations"),
    setting_option("search.feature_sets", "--feature-sets"),
    setting_option("search.classifiers", "--classifiers"),
    setting_option("search.inner_folds", "--inner-folds"),
    setting_option("search.voters", "--voters"),
    setting_option("search.metric", "--metric"),
)
BACKBONES = _combine(
    setting_option(
        "deep.backbones", "--backbone", "backbones", multiple=True, metavar="NAME[=WEIGHTS]"
    ),
    GPUS,
)
HEAD_FEATURES = setting_option(
    "trials.feature_set", "--backbone", "feature_set", required=True,
    help="The input of the head: a backbone, or features joined by +.",
)  # fmt: skip
HEAD_SEARCH = _combine(
    HEAD_FEATURES,
    setting_option("head_search.configurations", "--configs", "configs"),
    setting_option("head_search.searcher", "--searcher"),
    setting_option("head_search.draws", "--draws"),
)
SWEEP = _combine(
    click.option("--source", required=True, metavar="URI",
                 help="Folder of images, or s3://…, gs://…."),
    click.option("--store", required=True, metavar="URI",
                 help="Folder of results, or s3://…, gs://…."),
    PROFILE,
    LANDMARK_MODEL,
    MODEL,
    WEIGHTS,
    FACES,
    setting_option("sweep.gone", "--gone"),
    setting_option("sweep.retry", "--retry"),
    setting_option("sweep.max_error_share", "--max-error-share"),
    click.option(
        "--check", type=click.Choice(["time", "content"]), default="time", show_default=True,
        help="How changed images are detected: by size and time, or by reading all images.",
    ),
    click.option(
        "--log-format", type=click.Choice(["text", "json"]), default="text", show_default=True,
        help="json: one object per line, on standard error.",
    ),
    COMMON,
)  # fmt: skip


def parse_weights(texts: tuple[str, ...]) -> tuple[tuple[str, str], ...]:
    """Parse the values of `--weights`, BACKBONE=FILE each, into pairs of backbone and file."""
    return tuple(_parse_weight(text) for text in texts)


def _parse_weight(text: str) -> tuple[str, str]:
    name, equals, file = text.partition("=")
    if not equals or not name or not file:
        raise click.UsageError(f"--weights {text}: write it as BACKBONE=FILE")
    return name, file
