"""Pages from templates: self-contained, with no script and no network."""

import base64
import hashlib
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined, select_autoescape
from markupsafe import Markup

from fer_ray.report.theme import DARK, LIGHT

# Pictures from the page itself, one style sheet known by its hash.
POLICY = (
    "default-src 'none'; img-src data:; style-src 'sha256-{digest}'; "
    "base-uri 'none'; form-action 'none'"
)


def render(template: str, context: dict[str, Any]) -> str:
    """A page of `report/templates`, with its style sheet in it."""
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
