"""Rendering of self-contained pages, without scripts or network access, and of their folder."""

import base64
import hashlib
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jinja2 import Environment, PackageLoader, StrictUndefined, select_autoescape
from markupsafe import Markup

from fer_ray.report.theme import DARK, LIGHT
from fer_ray.storage.files import write_folder

if TYPE_CHECKING:  # matplotlib takes long to import, and some pages have no pictures
    from fer_ray.report.figures.themed_picture import Picture

PAGE = "index.html"
# Allows data: images and the one style sheet with this hash.
POLICY = (
    "default-src 'none'; img-src data:; style-src 'sha256-{digest}'; "
    "base-uri 'none'; form-action 'none'"
)

logger = logging.getLogger(__name__)


def render(template: str, context: dict[str, Any]) -> str:
    """Render a template of `report/templates` as a page with an inline style sheet."""
    environment = Environment(
        loader=PackageLoader("fer_ray.report"),
        autoescape=select_autoescape(default=True, default_for_string=True),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    style = environment.get_template("style.css").render(light=LIGHT, dark=DARK)
    digest = base64.b64encode(hashlib.sha256(style.encode("utf-8")).digest()).decode("ascii")
    page = environment.get_template(template)
    return page.render(context, style=Markup(style), policy=POLICY.format(digest=digest))


def write_report_folder(out: Path, page: str, pictures: "Sequence[Picture]") -> Path:
    """Write a page and its figures as `out/report`, replacing an earlier report.

    Args:
        out: The folder to contain the report.
        page: The HTML of the page.
        pictures: The figures to write as PNG files; the page embeds its own copies.

    Returns:
        The path of the page.
    """
    folder = out / "report"
    files = [(f"{picture.name}.png", picture.light) for picture in pictures]
    write_folder([*files, (PAGE, page.encode())], folder)
    logger.info("report: %s, %d figures", folder / PAGE, len(pictures))
    return folder / PAGE
