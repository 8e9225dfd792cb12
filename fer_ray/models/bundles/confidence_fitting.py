"""What a bundle stores to say how far to trust its predictions, from scores of held-out images."""

import numpy as np
from numpy.typing import NDArray

from fer_ray.evaluation.experiments.results import ExperimentResults
from fer_ray.evaluation.experiments.samples import Samples
from fer_ray.evaluation.temperature import Floats, fit_temperature_scaling
from fer_ray.models.bundles.bundle_manifest import Confidence
from fer_ray.models.bundles.keras_heads import log_scores
from fer_ray.models.confidence.prediction_sets import SET_COVERAGE, in_prediction_set, set_threshold
from fer_ray.models.confidence.training_faces import TrainingFaces, describe_faces
from fer_ray.models.scaling import union_scale
from fer_ray.models.temperature_svm import TemperatureSvm
from fer_ray.settings.feature_sets import widths_of


def confidence_of_svm(model: TemperatureSvm, samples: Samples) -> Confidence:
    """Fit on the scores from folds of the images that an SVM was fitted on."""
    subjects = [samples.subjects[row] for row in model.trained]
    kind = "people" if model.by_subject else "images"
    how = f"SVMs with the same settings, each fitted without a fold of {kind}"
    labels = samples.labels[model.trained]
    fitted = _fit(labels, model.held_out_scores, subjects, model.by_subject, how)
    return fitted.model_copy(update={"sharpness": model.sharpness})


def confidence_of_head(item: ExperimentResults) -> Confidence:
    """Fit on the test predictions of all trials of a head."""
    predictions = item.predictions
    probabilities = np.stack(predictions["probabilities"].to_list()).astype(np.float64)
    labels = predictions["label"].to_numpy(np.int8)
    new_people = item.summary.test_subject_in_train == 0
    how = "the heads of all trials, on the test images of their trial"
    subjects = predictions["subject"].to_list()
    return _fit(labels, log_scores(probabilities), subjects, new_people, how)


def _fit(
    labels: NDArray[np.int8],
    scores: Floats,
    subjects: list[str | None],
    new_people: bool,
    how: str,
) -> Confidence:
    scored = np.flatnonzero(np.isfinite(scores).any(axis=1))
    known = {subjects[row] for row in scored} - {None}
    labels, scores = labels[scored], scores[scored]
    scaling = fit_temperature_scaling(labels, scores)
    probabilities = scaling.probabilities(scores)
    threshold = set_threshold(probabilities[np.arange(len(labels)), labels])
    trained = np.isfinite(scores).any(axis=0)  # the others are in no set, whatever the threshold
    sizes = in_prediction_set(probabilities[:, trained], threshold).sum(axis=1)
    return Confidence(
        sharpness=1,
        inverse_temperature=scaling.inverse_temperature,
        uniform_share=scaling.uniform_share,
        set_coverage=SET_COVERAGE,
        set_threshold=threshold,
        set_size=float(sizes.mean()),
        abstained=float(np.mean(sizes != 1)),
        images=len(labels),
        subjects=len(known),
        new_people=new_people,
        how=how,
    )


def describe_samples(samples: Samples, feature_set: str) -> TrainingFaces:
    """Describe the training faces, in features where each set of a union has the same weight."""
    scale = union_scale(widths_of(feature_set, samples.features.shape[1]))
    return describe_faces(samples.features, scale, samples.subjects)
