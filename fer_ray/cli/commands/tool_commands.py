"""The commands of `fer-ray` that need no data: the synthetic corpus, completion, versions."""

import json
from dataclasses import asdict
from pathlib import Path

import click

from fer_ray import __version__
from fer_ray.cli.given_paths import as_given
from fer_ray.cli.options import JSON, PATH, SUBJECTS
from fer_ray.execution.job import open_display_of_job


@click.command()
@click.argument("out", type=PATH)
@SUBJECTS
@click.option(
    "--seed",
    type=click.IntRange(min=0),
    default=2010,
    show_default=True,
    help="Seed of the corpus.",
)
@click.option(
    "--workers", type=click.IntRange(min=1), help="Number of processes; by default one per CPU."
)
@JSON
def synth(out: Path, subjects: int, seed: int, workers: int | None, as_json: bool) -> None:
    """Generate the synthetic corpus: faces in the layout of CK+."""
    with open_display_of_job(as_json) as progress:
        from fer_ray.storage.files import local_folder
        from fer_ray.synthetic.corpus import count_frames, generate_corpus

        total = count_frames(subjects, seed)
        with local_folder(out) as folder, progress("generate", "frames", total) as advance:
            summary = generate_corpus(folder, subjects, seed, workers, advance)
    if as_json:
        click.echo(json.dumps(asdict(summary)))
    else:
        click.echo(
            f"{as_given(out)}: {summary.frames} frames, {summary.sequences} sequences, "
            f"{summary.subjects} subjects (synthetic)"
        )


@click.command()
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
def completion(shell: str) -> None:
    """Print a script that completes commands and options in a shell.

    To use it, add `eval "$(fer-ray completion bash)"` to ~/.bashrc, the same with zsh to ~/.zshrc
    (after `autoload -Uz compinit && compinit`), or `fer-ray completion fish | source` to
    ~/.config/fish/config.fish.
    """
    from click.shell_completion import get_completion_class

    root = click.get_current_context().find_root().command
    complete = get_completion_class(shell)
    assert complete is not None  # click has one for each choice
    click.echo(complete(root, {}, "fer-ray", "_FER_RAY_COMPLETE").source())


def print_version(context: click.Context, _: click.Parameter, value: bool) -> None:
    """Print the versions of fer_ray, of Python and of libraries, and the platform."""
    if not value or context.resilient_parsing:
        return
    from fer_ray.storage.environment import library_versions, machine

    click.echo(f"fer-ray {__version__}")
    for name, text in {**library_versions(), "platform": machine()["platform"]}.items():
        click.echo(f"  {name} {text}")
    context.exit()
