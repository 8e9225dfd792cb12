"""Loads settings from a YAML file and from `section.name=value` overrides."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from fer_ray.errors import UserError, error_text
from fer_ray.settings.root import Settings


def load_settings(file: Path | None, overrides: tuple[str, ...]) -> Settings:
    """Load settings from a YAML file, then apply overrides.

    Args:
        file: A YAML file with one section per key, or None.
        overrides: Texts such as `trials.C=0.5`; a later one takes precedence.

    Returns:
        The validated settings.

    Raises:
        UserError: The file is missing or not YAML, or a setting is unknown or out of range.

    Examples:
        >>> from fer_ray.settings.loading import load_settings
        >>> load_settings(None, ("trials.C=0.5",)).trials.C
        0.5
    """
    tree = _read_yaml(file) if file else {}
    for override in overrides:
        _apply_override(tree, override)
    return _validate(tree)


def build_settings(values: Mapping[str, Any]) -> Settings:
    """Build settings from a mapping.

    Args:
        values: Values by name, such as `{"trials.C": 0.5}`, or sections, such as
            `{"trials": {"C": 0.5}}`.

    Raises:
        UserError: A setting is unknown or out of range.

    Examples:
        >>> from fer_ray.settings.loading import build_settings
        >>> build_settings({"profile": "fast", "trials.C": 0.5}).trials.C
        0.5
    """
    tree: dict[str, Any] = {}
    for name, value in values.items():
        section, last = _find_section(tree, name, f"{name}={value}")
        is_section = isinstance(value, Mapping) and isinstance(section.get(last), dict)
        section[last] = {**section[last], **value} if is_section else value
    return _validate(tree)


def _validate(tree: dict[str, Any]) -> Settings:
    try:
        return Settings.model_validate(tree)
    except ValidationError as error:
        raise UserError(_describe(error)) from None


def _read_yaml(file: Path) -> dict[str, Any]:
    try:
        tree = yaml.safe_load(file.read_text(encoding="utf-8")) or {}
    except OSError as error:
        raise UserError(
            f"Cannot read the settings file {file}: {error_text(error)}. Correct --settings."
        ) from None
    except (UnicodeDecodeError, yaml.YAMLError) as error:
        raise UserError(f"Cannot read the settings file {file}: {error}") from None
    if not isinstance(tree, dict):
        raise UserError(f"The settings file {file} has no sections: write lines such as `trials:`.")
    return tree


def _apply_override(tree: dict[str, Any], override: str) -> None:
    """Set one `a.b.c=value` in `tree`; the value is parsed as YAML."""
    name, equals, text = override.partition("=")
    if not equals or not name.strip():
        raise UserError(f"--set {override}: write it as section.name=value, e.g. trials.C=0.5")
    section, last = _find_section(tree, name.strip(), f"--set {override}")
    try:
        section[last] = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise UserError(f"--set {override}: the value is not valid YAML: {error}") from None


def _find_section(tree: dict[str, Any], name: str, shown: str) -> tuple[dict[str, Any], str]:
    """Find or create the section of a dotted name; return it with the last part of the name."""
    *sections, last = name.split(".")
    for section in sections:
        tree = tree.setdefault(section, {})
        if not isinstance(tree, dict):
            raise UserError(f"{shown}: {section} is a value, not a section")
    return tree, last


def _describe(error: ValidationError) -> str:
    lines = []
    details = error.errors()
    if len(details) > 1:  # a list whose items were rejected is reported as too short as well
        details = [detail for detail in details if detail["type"] != "too_short"]
    for detail in details:
        name = ".".join(str(part) for part in detail["loc"] if isinstance(part, str))
        reason = detail["msg"].removeprefix("Value error, ")
        if detail["type"] == "extra_forbidden":
            reason = "this setting does not exist"
        lines.append(f"  {name or 'settings'}: {reason}")
    return "Invalid settings:\n" + "\n".join(dict.fromkeys(lines))
