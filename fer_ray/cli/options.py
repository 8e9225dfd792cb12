"""Options that several commands share."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from fer_ray.cli.given_paths import remember
from fer_ray.cli.setting_options import Command, setting_option
from fer_ray.settings.backbones import absolute_weights
from fer_ray.settings.training import TRANSFER
from fer_ray.storage.paths import to_path


class PathOrUri(click.Path):
    """The type of options that take a path or a URI in an object store."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Path:
        """Convert the text with `to_path`, and remember it for messages."""
        path = to_path(value)
        remember(path, str(value))
        return path


PATH = PathOrUri()


def _combine(*options: Callable[[Command], Command]) -> Callable[[Command], Command]:
    def add(command: Command) -> Command:
        for option in reversed(options):
            command = option(command)
        return command

    return add


OUT = click.option(
    "--out", type=PATH, required=True, help="Run folder: a path, or a URI in an object store."
)
DATA = click.option(
    "--data", type=PATH, required=True,
    help="A CK+ tree, a folder of images (in folders named after emotions, or with a labels.csv), "
    "or a CSV file.",
)  # fmt: skip
IMAGES_MOVED = click.option(
    "--data", type=PATH, help="Where the images are now, if they have moved."
)
SUBJECTS = click.option(
    "--subjects", type=click.IntRange(min=1), default=60, show_default=True,
    help="Number of synthetic people.",
)  # fmt: skip
JSON = click.option("--json", "as_json", is_flag=True, help="Print only the result, as JSON.")
SHOW_FACES = click.option(
    "--show-faces",
    is_flag=True,
    help="Show faces of your data in the report (CK+ permits only a few).",
)
TRACK = click.option(
    "--track", type=click.Choice(["mlflow"]),
    help="Log the finished run to MLflow, at MLFLOW_TRACKING_URI.",
)  # fmt: skip
GROUPS = click.option(
    "--groups", multiple=True, metavar="COLUMN...",
    help="Further columns of the labels file, such as age or site, to compare groups by, separated "
    "by spaces or commas.",
)  # fmt: skip
STRICT = click.option(
    "--strict", is_flag=True,
    help="Reject splits that share a subject, sequence or picture between training and test.",
)  # fmt: skip
MODEL = click.option(
    "--model", type=PATH, metavar="BUNDLE",
    help="Add the predictions of this bundle, and extract with its settings.",
)  # fmt: skip
WEIGHTS = click.option(
    "--weights", multiple=True, metavar="BACKBONE=FILE",
    help="Weights of a backbone of the bundle.  [default: the published ones]",
)  # fmt: skip
LAYOUT = setting_option("extract.selection.layout", "--layout")
HIDDEN_FILES = setting_option("extract.selection.hidden_files", "--hidden-files/--no-hidden-files")
DATASET = setting_option("extract.selection.dataset", "--dataset")
LABEL_CODES = setting_option("extract.selection.label_codes", "--label-codes")
LANDMARK_FILE = setting_option("extract.landmarks.file", "--landmark-file")
LANDMARK_MODEL = setting_option("extract.landmarks.model", "--landmark-model")
DETECTOR = setting_option("extract.crop.detector", "--detector")
ABSTAIN_BELOW = setting_option("predict.abstain_below", "--abstain-below", metavar="P")
FACES = setting_option("extract.crop.faces", "--faces")
WORKERS = setting_option("execution.workers", "--workers")
GPUS = setting_option("execution.gpus_per_worker", "--gpus-per-worker")
PROFILE = setting_option("profile", "--profile")

COMMON = _combine(
    click.option(
        "--settings", "settings_file", type=PATH, metavar="FILE.yaml",
        help="YAML file of settings.",
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
    DETECTOR,
    LANDMARK_MODEL,
    LANDMARK_FILE,
    FACES,
    LAYOUT,
    DATASET,
    LABEL_CODES,
    HIDDEN_FILES,
    setting_option("extract.selection.frames", "--frames"),
    setting_option("extract.selection.neutral_seed", "--neutral-seed"),
    click.option("--fresh", is_flag=True, help="Replace the results of another run in --out."),
    click.option(
        "--export-crops", type=PATH, metavar="DIR",
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
    setting_option("trials.set_weights", "--set-weights", metavar="WEIGHT,WEIGHT…"),
    setting_option("trials.C", "--C", "c"),
    setting_option("trials.class_weight", "--class-weight"),
    setting_option("trials.mirror", "--mirror/--no-mirror"),
    setting_option("trials.augment", "--augment"),
    setting_option("trials.gamma", "--gamma"),
    setting_option("trials.calibration", "--calibration"),
)
MODEL_RECIPE = _combine(
    setting_option("trials.feature_set", "--feature-set", help="Features to train on; + joins sets."
                   f"  [default: {TRANSFER['feature_set']}]"),
    setting_option("trials.kernels", "--kernel", "kernels", metavar="KERNEL",
                   help="Kernel of the SVM.  [default: linear]"),
    setting_option("trials.scale", "--scale", help="Scaling of the features.  [default: equal]"),
    setting_option("trials.C", "--C", "c", help="Penalty of the SVM.  [default: 1]"),
    setting_option("trials.classes", "--classes"),
)  # fmt: skip
SEARCH = _combine(
    SPLITS,
    setting_option("search.configurations", "--configurations"),
    setting_option("search.feature_sets", "--feature-sets"),
    setting_option("search.classifiers", "--classifiers"),
    setting_option("search.inner_folds", "--inner-folds"),
    setting_option("search.voters", "--voters"),
    setting_option("search.metric", "--metric"),
)
INTERFACE = _combine(
    setting_option("deep.interface.input_px", "--input-px"),
    setting_option("deep.interface.colours", "--colours"),
    setting_option("deep.interface.mean", "--mean", metavar="NUMBERS"),
    setting_option("deep.interface.std", "--std", metavar="NUMBERS"),
    setting_option("deep.interface.output", "--output", metavar="NAME"),
)
RECOMMENDED = _combine(
    setting_option("recommended", "--recommended/--study-only"),
    # Its name in earlier versions.
    setting_option("recommended", "--beyond", is_flag=True, flag_value=True, hidden=True),
)
BACKBONES = _combine(
    setting_option(
        "deep.backbones", "--backbone", "backbones", multiple=True, metavar="NAME[=FILE]"
    ),
    INTERFACE,
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
    DETECTOR,
    LANDMARK_MODEL,
    LANDMARK_FILE,
    MODEL,
    WEIGHTS,
    ABSTAIN_BELOW,
    FACES,
    LAYOUT,
    DATASET,
    LABEL_CODES,
    HIDDEN_FILES,
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
    return name, absolute_weights(file)
