"""The commands of `fer-ray` for networks: bottleneck features, heads, and the search for heads."""

import json
from pathlib import Path
from typing import Any

import click

from fer_ray.cli.given_paths import as_given
from fer_ray.cli.options import (
    COMMON,
    GPUS,
    HEAD_FEATURES,
    HEAD_SEARCH,
    IMAGES_MOVED,
    INTERFACE,
    OUT,
    SPLITS,
    STRICT,
)
from fer_ray.cli.setting_options import settings_from
from fer_ray.execution.job import open_job
from fer_ray.settings.backbones import BACKBONES
from fer_ray.settings.networks import HEADS
from fer_ray.storage.paths import to_path
from fer_ray.storage.run_folder import RunFolder, other_experiments


@click.command()
@OUT
@click.option(
    "--backbone",
    metavar="NAME[=FILE]",
    required=True,
    help=f"Pretrained network: {', '.join(BACKBONES)}; or NAME=FILE, a network of your own in an "
    "ONNX or Keras file, which you name.",
)
@click.option(
    "--weights",
    metavar="imagenet|embedded|FILE",
    help="Weights of the network.  [default: imagenet; dlib_resnet: embedded]",
)
@INTERFACE
@click.option("--maps", is_flag=True, help="Store feature maps instead of pooled features.")
@click.option(
    "--draws",
    type=click.IntRange(min=0),
    default=0,
    show_default=True,
    help="Augmented draws of each image, in a separate table; 0: the original images.",
)
@click.option(
    "--fitted-only",
    is_flag=True,
    help="Compute only the draws of images that heads are fitted on in at least one trial of "
    "--protocol, --classes, --trials and --seed, or of --folds.",
)
@SPLITS
@IMAGES_MOVED
@GPUS
@click.option(
    "--fresh",
    is_flag=True,
    help="Replace features of other settings once the new ones are complete; also "
    "removes what was trained on the old ones.",
)
@COMMON
def bottleneck(out: Path, backbone: str, weights: str | None, maps: bool, draws: int,
               fitted_only: bool, data: Path | None, fresh: bool, as_json: bool,
               **options: Any) -> None:  # fmt: skip
    """Compute the features of a pretrained network for every usable image, as Parquet."""
    _check_split_options(fitted_only, draws, options)
    name, _, file = backbone.partition("=")
    if file and weights:
        raise click.UsageError("Specify a file with --backbone or with --weights, not with both.")
    weights = weights or file or None
    settings = settings_from(options)
    with open_job(out, as_json) as progress:
        from fer_ray.networks.bottleneck.bottleneck_plan import plan_bottleneck
        from fer_ray.networks.describe_network import find_backbone
        from fer_ray.pipelines.extraction.bottleneck import run_bottleneck
        from fer_ray.pipelines.training.heads import fitted_images
        from fer_ray.storage.run_folder import frames_record

        frames = frames_record(out)
        bottleneck_plan = plan_bottleneck(
            frames, find_backbone(name, weights, settings.deep), weights, maps, draws,
            settings.deep.augmentation,
            fitted_images(out, settings.trials) if fitted_only else None,
        )  # fmt: skip
        root = data or to_path(frames["data"]["root"])
        record = run_bottleneck(out, root, bottleneck_plan, settings.execution, progress, fresh)
    if as_json:
        click.echo(json.dumps(record, ensure_ascii=False))
    else:
        _print_features(record, RunFolder(out).bottleneck_table(bottleneck_plan.table_name))


def _check_split_options(fitted_only: bool, draws: int, options: dict[str, Any]) -> None:
    """Require that options about splits are used together with --fitted-only and --draws."""
    if fitted_only and not draws:
        raise click.UsageError("--fitted-only needs augmented draws: add --draws.")
    splits = ("protocol", "classes", "folds", "n_trials", "seed")
    if not fitted_only and any(options[name] is not None for name in splits):
        raise click.UsageError("Options about splits need --fitted-only: add it, or omit them.")


def _print_features(record: dict[str, Any], table: Path) -> None:
    done = f"{record['rows_done']} computed now, {record['seconds']:.1f} s"
    if record.get("already_finished"):
        done = "all computed before"
    click.echo(
        f"{record['rows']} rows of {record['numbers']} features in {as_given(table)} ({done}); "
        f"weights: {record['weights']['origin']}, SHA-256 {record['weights']['sha256'][:12]}…; "
        f"input: {record['input_px']} px, {record['preprocessing']}"
    )


@click.command()
@OUT
@HEAD_FEATURES
@click.option(
    "--head",
    type=click.Choice(list(HEADS)),
    default="default",
    show_default=True,
    help="Named architecture and training settings.",
)
@SPLITS
@STRICT
@COMMON
def heads(out: Path, feature_set: str, head: str, strict: bool, as_json: bool,
          **options: Any) -> None:  # fmt: skip
    """Run repeated trials of a network head, and save the best head."""
    settings = settings_from({**options, "feature_set": feature_set})
    with open_job(out, as_json) as progress:
        from fer_ray.pipelines.training.heads import run_heads

        card = run_heads(
            out, head, feature_set, settings.trials, settings.execution, progress, strict
        )
    _print_card(out, card, as_json)


@click.command("search-heads")
@OUT
@HEAD_SEARCH
@SPLITS
@STRICT
@COMMON
def search_heads(out: Path, feature_set: str, strict: bool, as_json: bool,
                 **options: Any) -> None:  # fmt: skip
    """Select a head's settings on validation images, and test it once per trial."""
    settings = settings_from({**options, "feature_set": feature_set})
    with open_job(out, as_json) as progress:
        from fer_ray.pipelines.training.search_heads import run_head_search

        card = run_head_search(out, feature_set, settings, progress, strict)
    _print_card(out, card, as_json)


def _print_card(out: Path, card: dict[str, Any], as_json: bool) -> None:
    if as_json:
        click.echo(json.dumps(card, ensure_ascii=False))
        return
    from fer_ray.cli.output import console
    from fer_ray.evaluation.experiments.results import read_experiments

    if card.get("already_finished"):
        click.echo("All trials were already finished; nothing was recomputed.")
    (results,) = read_experiments(out, card["experiment"])
    console.print_trials([results.summary], card["warnings"])
    console.print_leakage(card["leakage"])
    console.print_other_experiments(out, other_experiments(out, [card["experiment"]]))
    click.echo(as_given(f"best head: {RunFolder(out).head_of(card['experiment'])}"))
