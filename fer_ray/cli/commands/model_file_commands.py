"""`fer-ray models`: the model files that the project uses."""

import json
from typing import Any

import click

from fer_ray.cli.options import JSON
from fer_ray.errors import UserError


@click.group(invoke_without_command=True)
@JSON
@click.pass_context
def models(context: click.Context, as_json: bool) -> None:
    """List model files: purpose, licence, size, SHA-256, and whether they are present."""
    if context.invoked_subcommand is not None:
        return
    rows = _list_files()
    if as_json:
        click.echo(json.dumps(rows, ensure_ascii=False))
        return
    from fer_ray.cli.output.console import print_model_files

    print_model_files(rows)


@models.command()
@click.argument("name")
def fetch(name: str) -> None:
    """Download the model file NAME, verify its hash and print its path.

    A download that was interrupted is resumed.
    """
    from fer_ray.faces.model_paths import fetch as fetch_file
    from fer_ray.networks.weights import published_file
    from fer_ray.settings.backbones import BACKBONES
    from fer_ray.settings.model_files import MODEL_FILES

    if name in MODEL_FILES:
        click.echo(fetch_file(MODEL_FILES[name]))
    elif name in BACKBONES and BACKBONES[name].url:
        click.echo(published_file(BACKBONES[name]))
    else:
        names = [*MODEL_FILES, *(key for key, spec in BACKBONES.items() if spec.url)]
        raise UserError(f"No model file is named {name}. Choose one of {', '.join(names)}.")


def _list_files() -> list[dict[str, Any]]:
    from fer_ray.faces.model_paths import stored_file
    from fer_ray.networks.weights import cached_file, known_hash
    from fer_ray.settings.backbones import BACKBONES
    from fer_ray.settings.model_files import MODEL_FILES

    rows: list[dict[str, Any]] = [
        {
            "name": spec.name,
            "purpose": spec.purpose,
            "licence": spec.licence,
            "commercial_use": spec.commercial,
            "bytes": spec.size,
            "hash": f"sha256:{spec.sha256}",
            "path": _text(stored_file(spec)),
        }
        for spec in MODEL_FILES.values()
    ]
    for spec in BACKBONES.values():
        if spec.url:
            rows.append(
                {
                    "name": spec.name,
                    "purpose": f"backbone {spec.name}",
                    "licence": spec.licence,
                    "commercial_use": True,
                    "bytes": None,
                    "hash": known_hash(spec),
                    "path": _text(cached_file(spec)),
                }
            )
    return rows


def _text(path: object) -> str | None:
    return None if path is None else str(path)
