"""What others published on CK+, and our own figure beside it."""

from fer_ray.deep.weights import Origin
from fer_ray.report import wording
from fer_ray.report.run_folder import RunFolder
from fer_ray.report.tables import Rows

# What others published on CK+: method, figure, protocol, and the experiment of ours beside it as
# (its name, figure).
PUBLISHED = (
    (
        "The study: linear SVM on 67 landmarks",
        "mean accuracy 83.88\u00a0%",
        "10 random 80/20 trials, 8 classes, subjects shared between training and test",
        ("svm-linear-reference-random", "test_accuracy"),
    ),
    (
        "The study: polynomial SVM on 67 landmarks",
        "mean accuracy 79.76\u00a0%",
        "10 random 80/20 trials, 8 classes, subjects shared between training and test",
        ("svm-poly-reference-random", "test_accuracy"),
    ),
    (
        "The study: VGG16, pooled, softmax head",
        "accuracy 56.47\u00a0%, log loss 1.272",
        "one random split, 283 / 71 / 85 images, 8 classes, ImageNet weights",
        ("head-vgg16-random", "test_accuracy"),
    ),
    (
        "The study: Xception, pooled, softmax head",
        "accuracy 61.18\u00a0%, log loss 1.143",
        "one random split, 283 / 71 / 85 images, 8 classes, ImageNet weights",
        ("head-xception-random", "test_accuracy"),
    ),
    (
        "The study: augmented VGG16, raw pixels, sigmoid head",
        "accuracy 21.18\u00a0%, log loss 1.783",
        "one random split, 283 / 71 / 85 images, 8 classes, ImageNet weights",
        ("head-augmented-reference-vgg16_raw-random", "test_accuracy"),
    ),
    (
        "Lucey et al. 2010: linear SVM on AAM shape and appearance",
        "mean class recall 83.3\u00a0%",
        "leave one subject out, 7 classes without neutral",
        ("svm-linear-reference-loso-classes=7", "macro_recall"),
    ),
)


def published_rows(run: RunFolder) -> Rows:
    """Published method, figure and protocol, and our own figure beside them."""
    return [
        (method, figure, protocol, _ours(run, *wanted))
        for method, figure, protocol, wanted in PUBLISHED
    ]


def _ours(run: RunFolder, experiment: str, figure: str) -> str:
    for item in run.experiments:
        made = item.summary
        if made.experiment == experiment and _published_weights(run, made.feature_set):
            if figure == "macro_recall":
                recall = wording.percent(made.macro_recall)
                return f"mean class recall {recall} ({run.data_name}; {wording.split(made)})"
            accuracy = wording.percent(made.test_accuracy)
            return f"mean accuracy {accuracy} ({wording.provenance(made, run.data_name)})"
    backbone = next((name for name in NETWORKS if f"-{name}-" in experiment), None)
    if backbone is None or backbone in run.backbones:
        return "not in this run"
    return "weights not available" if backbone in run.absent else "not in this run"


NETWORKS = ("vgg16_raw", "vgg16", "xception")  # of the study


def _published_weights(run: RunFolder, feature_set: str) -> bool:
    """Whether a network's figure was made with the weights that a published one was made with."""
    record = run.backbones.get(feature_set)
    return record is None or record["weights"]["origin"] in (Origin.IMAGENET, Origin.EMBEDDED)


def comparability(run: RunFolder) -> str:
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
