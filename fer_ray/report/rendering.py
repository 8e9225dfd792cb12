"""Rendering of self-contained pages, without network access, and of their folder."""

import base64
import hashlib
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined, select_autoescape
from markupsafe import Markup

from fer_ray.report.theme import DARK, LIGHT
from fer_ray.storage.files import write_folder

PAGE = "index.html"
# Allows data: images, and the one style sheet and the one script with these hashes.
POLICY = (
    "default-src 'none'; img-src data:; style-src '{style}'; script-src '{script}'; "
    "base-uri 'none'; form-action 'none'"
)

logger = logging.getLogger(__name__)


def render(template: str, context: dict[str, Any]) -> str:
    """Render a template of `report/templates` as a page with an inline style sheet and script."""
    environment = Environment(
        loader=PackageLoader("fer_ray.report"),
        autoescape=select_autoescape(default=True, default_for_string=True),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    style = environment.get_template("style.css").render(light=LIGHT, dark=DARK)
    script = environment.get_template("page.js").render()
    policy = POLICY.format(style=_digest(style), script=_digest(script))
    page = environment.get_template(template)
    return page.render(context, style=Markup(style), script=Markup(script), policy=policy)


def _digest(text: str) -> str:
    """The hash of an inline element, as a content security policy states it."""
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode("utf-8")).digest()).decode()


def write_report_folder(
    out: Path, page: str, figures: Mapping[str, bytes], further: Mapping[str, bytes] | None = None
) -> Path:
    """Write a page and its figures as `out/report`, replacing an earlier report.

    Args:
        out: The folder to contain the report.
        page: The HTML of the page.
        figures: The figures to write, as PNG by name; the page embeds its own copies.
        further: Other files to write, by name with extension.

    Returns:
        The path of the page.
    """
    folder = out / "report"
    files = [(f"{name}.png", png) for name, png in figures.items()]
    write_folder([*files, *(further or {}).items(), (PAGE, page.encode())], folder)
    logger.info("report: %s, %d figures", folder / PAGE, len(files))
    return folder / PAGE
