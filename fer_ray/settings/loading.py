"""Settings from a YAML file and from `section.name=value` overrides, with clear refusals."""

from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from fer_ray.errors import UserError
from fer_ray.settings.root import Settings


def load_settings(file: Path | None, overrides: tuple[str, ...]) -> Settings:
    """Settings from a YAML file and `section.name=value` overrides, in that order.

    Raises:
        UserError: The file is not there or not YAML, or a setting is unknown or out of range.
    """
    tree = _read_yaml(file) if file else {}
    for override in overrides:
        _apply(tree, override)
    try:
        return Settings.model_validate(tree)
    except ValidationError as problem:
        raise UserError(_explain(problem)) from None


def _read_yaml(file: Path) -> dict[str, Any]:
    try:
        tree = yaml.safe_load(file.read_text(encoding="utf-8")) or {}
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as problem:
        raise UserError(f"Settings file {file} cannot be read: {problem}") from None
    if not isinstance(tree, dict):
        raise UserError(f"Settings file {file} holds no settings: expected `section:` lines.")
    return tree


def _apply(tree: dict[str, Any], override: str) -> None:
    """Set one `a.b.c=value` in `tree`; the value is read as YAML."""
    name, equals, text = override.partition("=")
    if not equals or not name.strip():
        raise UserError(f"--set {override}: write it as section.name=value, e.g. trials.C=0.5")
    *sections, last = name.strip().split(".")
    for section in sections:
        tree = tree.setdefault(section, {})
        if not isinstance(tree, dict):
            raise UserError(f"--set {override}: {section} is a value, not a section")
    try:
        tree[last] = yaml.safe_load(text)
    except yaml.YAMLError as problem:
        raise UserError(f"--set {override}: the value is not YAML: {problem}") from None


def _explain(problem: ValidationError) -> str:
    lines = []
    errors = problem.errors()
    if len(errors) > 1:  # items that were refused make their list too short as well
        errors = [error for error in errors if error["type"] != "too_short"]
    for error in errors:
        place = ".".join(str(part) for part in error["loc"] if isinstance(part, str))
        reason = error["msg"].removeprefix("Value error, ")
        if error["type"] == "extra_forbidden":
            reason = "there is no such setting"
        lines.append(f"  {place or 'settings'}: {reason}")
    return "These settings cannot be used:\n" + "\n".join(dict.fromkeys(lines))
