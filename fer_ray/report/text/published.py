"""What others published on CK+, and our own figure beside it."""

from fer_ray.evaluation.results import ExperimentResults, RunResults
from fer_ray.evaluation.split_wording import split
from fer_ray.evaluation.summary import ExperimentSummary
from fer_ray.report.text import wording
from fer_ray.settings.backbones import BACKBONES
from fer_ray.settings.feature_sets import UNION, is_delta
from fer_ray.vocabulary import EMOTIONS, Origin

# What the study published on CK+: method, figure, protocol, and our experiment beside it.
PUBLISHED = (
    (
        "The study: linear SVM on 67 landmarks",
        "mean accuracy 83.88\u00a0%",
        "10 random 80/20 trials, 8 classes, subjects shared between training and test",
        "svm-linear-reference-random",
    ),
    (
        "The study: polynomial SVM on 67 landmarks",
        "mean accuracy 79.76\u00a0%",
        "10 random 80/20 trials, 8 classes, subjects shared between training and test",
        "svm-poly-reference-random",
    ),
    (
        "The study: VGG16, pooled, softmax head",
        "accuracy 56.47\u00a0%, log loss 1.272",
        "one random split, 283 / 71 / 85 images, 8 classes, ImageNet weights",
        "head-vgg16-random",
    ),
    (
        "The study: Xception, pooled, softmax head",
        "accuracy 61.18\u00a0%, log loss 1.143",
        "one random split, 283 / 71 / 85 images, 8 classes, ImageNet weights",
        "head-xception-random",
    ),
    (
        "The study: augmented VGG16, raw pixels, sigmoid head",
        "accuracy 21.18\u00a0%, log loss 1.783",
        "one random split, 283 / 71 / 85 images, 8 classes, ImageNet weights",
        "head-augmented-reference-vgg16_raw-random",
    ),
)
# Their features are shape, less the shape of the sequence's first frame, and appearance.
LUCEY = (
    "Lucey et al. 2010: linear SVM on AAM shape and appearance, less the first frame",
    "mean class recall 83.3\u00a0%",
    "leave one subject out, 7 classes without neutral",
)
SINGLE = "-n_trials=1"  # ending of an experiment's name
LUCEY_CLASSES = set(EMOTIONS) - {"neutral"}


def published_rows(run: RunResults) -> list[tuple[str, str, str, list[str]]]:
    """Published method, figure and protocol, and our own figures beside them, a line each."""
    study = [
        (method, figure, protocol, _ours(run, wanted))
        for method, figure, protocol, wanted in PUBLISHED
    ]
    return [*study, (*LUCEY, _as_lucey(run))]


def _ours(run: RunResults, experiment: str) -> list[str]:
    """Of the experiment of that name, and of the same on a single split, as the study's heads."""
    names = (experiment, f"{experiment}{SINGLE}")
    lines = [
        _figures(item.summary, run.data_name)
        for item in run.experiments
        if item.summary.experiment in names and _published_weights(run, item.summary.feature_set)
    ]
    if lines:
        return lines
    backbone = next((name for name in NETWORKS if f"-{name}-" in experiment), None)
    if backbone is None or backbone in run.backbones:
        return ["not in this run"]
    same_file = {name for name, spec in BACKBONES.items() if spec.url == BACKBONES[backbone].url}
    return ["weights not available" if same_file & set(run.absent) else "not in this run"]


def _figures(made: ExperimentSummary, data_name: str) -> str:
    mean = "" if made.n_trials == 1 else "mean "
    loss = f", log loss {wording.loss(made.test_log_loss)}" if "head" in made.classifier else ""
    accuracy = wording.percent(made.test_accuracy)
    return f"{mean}accuracy {accuracy}{loss} ({wording.provenance(made, data_name)})"


def _as_lucey(run: RunResults) -> list[str]:
    """Mean class recall of every experiment of that protocol and those classes, best first."""
    found = [
        item
        for item in run.experiments
        if item.summary.protocol == "loso" and set(item.summary.classes) == LUCEY_CLASSES
    ]
    found.sort(key=lambda item: (-item.summary.macro_recall, item.summary.experiment))
    lines = [
        f"{item.label}: mean class recall {wording.percent(item.summary.macro_recall)}"
        f"{_like_for_like(item)}"
        for item in found
    ]
    if not lines:
        return ["not in this run"]
    return [*lines, f"({run.data_name}; {split(found[0].summary)})"]


def _like_for_like(item: ExperimentResults) -> str:
    """Lucey et al. took features less those of the sequence's first frame, as deltas are."""
    deltas = all(is_delta(part) for part in item.summary.feature_set.split(UNION))
    return " (like for like: less the first frame)" if deltas else ""


NETWORKS = ("vgg16_raw", "vgg16", "xception")  # of the study


def _published_weights(run: RunResults, feature_set: str) -> bool:
    """Whether a network's figure was made with the weights that a published one was made with."""
    record = run.backbones.get(feature_set)
    return record is None or record["weights"]["origin"] in (Origin.IMAGENET, Origin.EMBEDDED)


def comparability(run: RunResults) -> str:
    """Whether the published figures are any yardstick for this run."""
    if run.synthetic:
        return "Not comparable: the published figures are on CK+, ours are on synthetic faces."
    if not run.is_ckplus:
        return (
            f"The published figures are on CK+. Ours are on {run.data_name}, which is not the "
            "whole of it (327 labelled sequences): compare only if it is a part of CK+."
        )
    return (
        "Ours are on CK+ too. Compare within one row only: rows differ in split, classes and the "
        "images that were lost to detection (the study kept 439)."
    )
