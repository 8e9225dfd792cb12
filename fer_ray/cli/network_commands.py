"""The commands of `fer-ray` about networks: bottleneck features, heads and the search for them."""

import json
from pathlib import Path
from typing import Any

import click

from fer_ray.cli.options import COMMON, OUT, SPLITS, STRICT, holding, progress_on, settings_of
from fer_ray.settings.backbones import BACKBONES
from fer_ray.settings.networks import HEADS
from fer_ray.storage.run_folder import RunFolder

BACKBONE = click.option(
    "--backbone", type=click.Choice(list(BACKBONES)), required=True, help="Pretrained network."
)


@click.command()
@OUT
@BACKBONE
@click.option("--weights", metavar="imagenet|embedded|FILE",
              help="[default: imagenet; dlib_resnet: embedded]")  # fmt: skip
@click.option("--maps", is_flag=True, help="Whole feature maps in place of pooled features.")
@click.option("--draws", type=click.IntRange(min=0), default=0,
              help="Augmented draws of each image, in a table of their own.")  # fmt: skip
@click.option(
    "--fitted-only",
    is_flag=True,
    help="Draw those images alone that heads fit in some trial of --protocol, --classes, "
    "--trials and --seed, or of --folds.",
)
@SPLITS
@click.option("--data", type=click.Path(path_type=Path), help="Where the images lie now.")
@click.option("--gpus-per-worker", type=float, help="[default: 0, processors]")
@click.option("--fresh", is_flag=True, help="Replace features that were made otherwise, once the "
              "new ones are there; what was trained on them goes too.")  # fmt: skip
@COMMON
def bottleneck(out: Path, backbone: str, weights: str | None, maps: bool, draws: int,
               fitted_only: bool, data: Path | None, fresh: bool, as_json: bool,
               **options: Any) -> None:  # fmt: skip
    """Features of a pretrained network, of every usable image, as Parquet."""
    if fitted_only and not draws:
        raise click.UsageError("--fitted-only is for augmented draws: give --draws as well.")
    splits = ("protocol", "classes", "folds", "n_trials", "seed")
    if not fitted_only and any(options[name] is not None for name in splits):
        raise click.UsageError("How images are split matters to --fitted-only alone: give it too.")
    settings = settings_of(options)
    from fer_ray.networks.bottleneck_plan import plan_bottleneck
    from fer_ray.pipelines.bottleneck import run_bottleneck
    from fer_ray.pipelines.heads import fitted_images
    from fer_ray.storage.run_folder import frames_record

    with holding(out):
        frames = frames_record(out)
        wanted = plan_bottleneck(
            frames, backbone, weights, maps, draws, settings.deep.augmentation,
            fitted_images(out, settings.trials) if fitted_only else None,
        )  # fmt: skip
        root = data or Path(frames["data"]["root"])
        progress = progress_on(as_json)
        record = run_bottleneck(out, root, wanted, settings.execution, progress, fresh)
    if as_json:
        click.echo(json.dumps(record, ensure_ascii=False))
        return
    done = f"{record['rows_done']} computed now, {record['seconds']:.1f} s"
    if record.get("already_finished"):
        done = "all there before; nothing was computed"
    click.echo(
        f"{record['rows']} rows of {record['numbers']} numbers in "
        f"{out / 'bottleneck' / wanted.table_name} ({done}); weights: "
        f"{record['weights']['origin']}, SHA-256 {record['weights']['sha256'][:12]}…"
    )


@click.command()
@OUT
@click.option("--backbone", "feature_set", required=True,
              help="What the head stands on: a backbone, or features joined by +.")  # fmt: skip
@click.option("--head", type=click.Choice(list(HEADS)), default="reference", show_default=True)
@SPLITS
@STRICT
@COMMON
def heads(out: Path, feature_set: str, head: str, strict: bool, as_json: bool,
          **options: Any) -> None:  # fmt: skip
    """Repeated trials of a network head, as of SVMs; the best head is kept."""
    settings = settings_of({**options, "feature_set": feature_set})
    from fer_ray.pipelines.heads import run_heads

    with holding(out):
        progress = progress_on(as_json)
        card = run_heads(
            out, head, feature_set, settings.trials, settings.execution, progress, strict
        )
    _print_card(out, card, as_json)


@click.command("search-heads")
@OUT
@click.option("--backbone", "feature_set", required=True,
              help="What heads stand on: a backbone, or features joined by +.")  # fmt: skip
@click.option("--configs", type=int, help="Configurations of each trial's search.  [default: 50]")
@click.option("--searcher", type=click.Choice(["optuna", "random"]), help="[default: optuna]")
@click.option("--draws", type=int, help="Augmented draws to train on.  [default: 0, none]")
@SPLITS
@STRICT
@COMMON
def search_heads(out: Path, feature_set: str, strict: bool, as_json: bool,
                 **options: Any) -> None:  # fmt: skip
    """Choose a head's settings on validation images, and test the one chosen, once a trial."""
    settings = settings_of({**options, "feature_set": feature_set})
    from fer_ray.pipelines.search_heads import run_head_search

    with holding(out):
        card = run_head_search(out, feature_set, settings, progress_on(as_json), strict)
    _print_card(out, card, as_json)


def _print_card(out: Path, card: dict[str, Any], as_json: bool) -> None:
    if as_json:
        click.echo(json.dumps(card, ensure_ascii=False))
        return
    from fer_ray.cli import console
    from fer_ray.evaluation.results import read_experiments

    if card.get("already_finished"):
        click.echo("These trials were finished before; nothing was done again.")
    (results,) = read_experiments(out, card["experiment"])
    console.print_trials([results.summary], card["warnings"])
    console.print_leakage(card["leakage"])
    click.echo(f"best head: {RunFolder(out).head_of(card['experiment'])}")
