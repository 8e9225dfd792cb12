"""What the best model on a network relies on: its occlusion map, drawn on the mean faces."""

from dataclasses import dataclass

from fer_ray.evaluation.experiments.results import ExperimentResults, RunResults, find_experiment
from fer_ray.models.occlusion import OcclusionMap
from fer_ray.report.figures.landmark_plots import FaceSource
from fer_ray.report.figures.themed_picture import Picture
from fer_ray.report.sections.model_evidence import evidence_panel, evidence_picture


@dataclass(frozen=True)
class NetworkEvidence:
    """What a model on a network relies on.

    Attributes:
        experiment: The experiment of the model.
        n_images: Number of test images that were covered.
        largest: The largest mean drop of a probability.
        picture: Its maps.
    """

    experiment: ExperimentResults
    n_images: int
    largest: float
    picture: Picture


def network_evidence(
    run: RunResults, occlusion: OcclusionMap | str | None, faces: FaceSource
) -> NetworkEvidence | str | None:
    """Draw an occlusion map.

    Args:
        run: The run.
        occlusion: The map, the reason why it could not be computed, or None.
        faces: Faces of the run, if they may be shown.

    Returns:
        Instead of the maps, the reason or None.
    """
    if occlusion is None or isinstance(occlusion, str):
        return occlusion
    item = find_experiment(run.experiments, occlusion.experiment)
    panels = [
        evidence_panel(name, (drops, None), run.usable[run.usable["emotion"] == name], faces)
        for name, drops in occlusion.drops.items()
    ]
    alt = f"Drops of the probability of a {item.label} when a part of the face is covered, by class"
    largest = max(float(drops.max()) for drops in occlusion.drops.values())
    picture = evidence_picture("occlusion", alt, panels)
    return NetworkEvidence(item, occlusion.n_images, largest, picture)
