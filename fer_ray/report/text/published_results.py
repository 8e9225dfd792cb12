"""Published results on CK+, next to those of a run.

The reference study is Karthik Balasubramanian, *Facial Emotions Recognition* (a notebook in the
repository karthikBalasubramanian/FER). The other results are from Lucey et al., "The Extended
Cohn-Kanade Dataset (CK+)", CVPR 2010 workshops.
"""

from fer_ray.evaluation.experiments.experiment_labels import describe_splits
from fer_ray.evaluation.experiments.results import ExperimentResults, RunResults
from fer_ray.evaluation.experiments.summary import ExperimentSummary
from fer_ray.report.text import formatting
from fer_ray.settings.backbones import BACKBONES
from fer_ray.settings.feature_sets import UNION, is_delta
from fer_ray.vocabulary import EMOTIONS, Origin

STUDY = (
    "Karthik Balasubramanian, “Facial Emotions Recognition”, a notebook in the repository "
    "karthikBalasubramanian/FER"
)

# Method, result and protocol of the reference study, and the experiment that repeats it.
STUDY_RESULTS = (
    (
        "Reference study: linear SVM on 67 landmarks",
        "mean accuracy 83.88%",
        "10 random 80/20 trials, 8 classes, subjects shared between training and test",
        "svm-linear-reference-random",
    ),
    (
        "Reference study: polynomial SVM on 67 landmarks",
        "mean accuracy 79.76%",
        "10 random 80/20 trials, 8 classes, subjects shared between training and test",
        "svm-poly-reference-random",
    ),
    (
        "Reference study: VGG16, pooled, softmax head",
        "accuracy 56.47%, log loss 1.272",
        "one random split, 283 / 71 / 85 images, 8 classes, ImageNet weights",
        "head-vgg16-random",
    ),
    (
        "Reference study: Xception, pooled, softmax head",
        "accuracy 61.18%, log loss 1.143",
        "one random split, 283 / 71 / 85 images, 8 classes, ImageNet weights",
        "head-xception-random",
    ),
    (
        "Reference study: augmented VGG16, raw pixels, sigmoid head",
        "accuracy 21.18%, log loss 1.783",
        "one random split, 283 / 71 / 85 images, 8 classes, ImageNet weights",
        "head-augmented-reference-vgg16_raw-random",
    ),
)
STUDY_NETWORKS = ("vgg16_raw", "vgg16", "xception")
# Their features are shape, minus the shape of the sequence's first frame, and appearance.
LUCEY = (
    "Lucey et al. 2010: linear SVM on AAM shape and appearance, minus the first frame",
    "mean class recall 83.3%",
    "leave one subject out, 7 classes without neutral",
)
LUCEY_CLASSES = set(EMOTIONS) - {"neutral"}
SINGLE_SPLIT = "-n_trials=1"  # suffix of an experiment's name
NOT_IN_RUN = "not in this run"
NO_WEIGHTS = "weights not available"


def published_rows(run: RunResults) -> list[tuple[str, str, str, list[str]]]:
    """Published method, result and protocol, and the results of this run, one line each."""
    study = [
        (method, result, protocol, _matching_results(run, experiment))
        for method, result, protocol, experiment in STUDY_RESULTS
    ]
    return [*study, (*LUCEY, _results_like_lucey(run))]


def comparability(run: RunResults) -> str:
    """Say whether the published results can be compared with those of this run."""
    if run.synthetic:
        return (
            "Not comparable: the published results are on CK+, those of this run on synthetic "
            "faces."
        )
    if not run.is_ckplus:
        return (
            f"The published results are on CK+. Those of this run are on {run.data_name}, which is "
            "not the complete CK+ (327 labelled sequences). Compare them only if it is a subset of "
            "CK+."
        )
    return (
        "The results of this run are on CK+ as well. Compare only within a row: rows differ in "
        "splits, classes and the images lost to face detection (the reference study used 439)."
    )


def _matching_results(run: RunResults, experiment: str) -> list[str]:
    """The results of an experiment, and of the same one on a single split."""
    names = (experiment, f"{experiment}{SINGLE_SPLIT}")
    lines = [
        _format_result(item.summary, run.data_name)
        for item in run.experiments
        if item.summary.experiment in names and _has_public_weights(run, item.summary.feature_set)
    ]
    if lines:
        return lines
    backbone = next((name for name in STUDY_NETWORKS if f"-{name}-" in experiment), None)
    if backbone is None or backbone in run.backbones:
        return [NOT_IN_RUN]
    same_file = {name for name, spec in BACKBONES.items() if spec.url == BACKBONES[backbone].url}
    return [NO_WEIGHTS if same_file & set(run.absent) else NOT_IN_RUN]


def _has_public_weights(run: RunResults, feature_set: str) -> bool:
    """Return whether a backbone used public weights; true for feature sets without a backbone."""
    record = run.backbones.get(feature_set)
    return record is None or record["weights"]["origin"] in (Origin.IMAGENET, Origin.EMBEDDED)


def _format_result(summary: ExperimentSummary, data_name: str) -> str:
    mean = "" if summary.n_trials == 1 else "mean "
    is_head = "head" in summary.classifier
    loss = f", log loss {formatting.loss(summary.test_log_loss)}" if is_head else ""
    accuracy = formatting.percent(summary.test_accuracy)
    return f"{mean}accuracy {accuracy}{loss} ({formatting.provenance(summary, data_name)})"


def _results_like_lucey(run: RunResults) -> list[str]:
    """Results with the protocol and classes of Lucey et al., by macro recall, best first."""
    matching = [
        item
        for item in run.experiments
        if item.summary.protocol == "loso" and set(item.summary.classes) == LUCEY_CLASSES
    ]
    matching.sort(key=lambda item: (-item.summary.macro_recall, item.summary.experiment))
    lines = [
        f"{item.label}: mean class recall {formatting.percent(item.summary.macro_recall)}"
        f"{_delta_remark(item)}"
        for item in matching
    ]
    if not lines:
        return [NOT_IN_RUN]
    return [*lines, f"({run.data_name}; {describe_splits(matching[0].summary)})"]


def _delta_remark(item: ExperimentResults) -> str:
    """A remark on deltas, which subtract the features of the first frame as Lucey et al. did."""
    deltas = all(is_delta(part) for part in item.summary.feature_set.split(UNION))
    return " (comparable: minus the first frame)" if deltas else ""
