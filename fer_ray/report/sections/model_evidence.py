"""What the best linear model relies on: a map for each class."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from fer_ray.errors import UserError
from fer_ray.evaluation.experiments.experiment_groups import ExperimentGroup
from fer_ray.evaluation.experiments.results import ExperimentResults, RunResults
from fer_ray.evaluation.experiments.samples import read_samples, select_classes
from fer_ray.features.appearance import FACE_PX, HOG_BINS, align, similarity
from fer_ray.models.linear_evidence import linear_evidence
from fer_ray.models.penalty import with_chosen_penalty
from fer_ray.report.figures.evidence_maps import EvidencePanel, evidence_maps
from fer_ray.report.figures.landmark_plots import FaceSource, Gray, Row, landmarks_xy
from fer_ray.report.figures.themed_picture import Picture, draw_picture
from fer_ray.settings.feature_sets import is_delta, sets_of, widths_of
from fer_ray.settings.training import TrialSettings
from fer_ray.storage.run_folder import RunFolder
from fer_ray.vocabulary import EMOTIONS, N_LANDMARKS

MAX_AVERAGED = 24  # faces in a mean face
POINT_SETS = {"landmarks": 2, "reference68": 4, "reference": 4}  # values per landmark
REGIONS = {
    "jaw": slice(0, 17), "brows": slice(17, 27), "nose": slice(27, 36),
    "eyes": slice(36, 48), "mouth": slice(48, 68),
}  # fmt: skip


@dataclass(frozen=True)
class ModelEvidence:
    """What a linear model relies on.

    Attributes:
        experiment: The experiment whose features and settings the model has.
        n_images: Number of images that it was fitted on.
        picture: Its maps.
    """

    experiment: ExperimentResults
    n_images: int
    picture: Picture


def model_evidence(
    run_dir: Path, run: RunResults, groups: Sequence[ExperimentGroup], faces: FaceSource
) -> ModelEvidence | str:
    """Compute the maps of the best linear SVM whose features have a place in the face.

    Returns:
        Instead of the maps, the reason why they cannot be computed, as a sentence.
    """
    candidates = [item for group in groups[:1] for item in group.models if _has_maps(item)]
    if not candidates:
        return (
            "Maps are drawn only for linear SVMs on HOG and landmarks; the verdict compares no "
            "such SVM."
        )
    item = candidates[0]
    settings = TrialSettings.model_validate(item.fit_settings["settings"])
    try:
        samples = read_samples(RunFolder(run_dir).frames, settings.feature_set)
    except UserError as problem:  # for example, the features are no longer in the run folder
        return str(problem)
    samples = select_classes(samples, settings.classes)
    settings = with_chosen_penalty(settings, samples, np.arange(len(samples.labels)), None)
    codes, evidence, n = linear_evidence(settings, samples.features, samples.labels)
    maps = [_locate(row, settings.feature_set) for row in evidence]
    panels = [
        evidence_panel(name, one, run.usable[run.usable["emotion"] == name], faces)
        for name, one in zip([EMOTIONS[code] for code in codes], maps, strict=True)
    ]
    alt = f"Contributions to the decisions of a {item.label}, by class"
    return ModelEvidence(item, n, evidence_picture("evidence", alt, panels))


def _has_maps(item: ExperimentResults) -> bool:
    sets = item.summary.feature_set.split("+")
    linear = item.summary.classifier == "svm-linear" and "settings" in item.fit_settings
    located = any(name == "hog" or name in POINT_SETS for name in sets)
    return linear and located and not any(map(is_delta, sets))


def _locate(
    evidence: NDArray[np.float64], feature_set: str
) -> tuple[NDArray[np.float64] | None, NDArray[np.float64] | None]:
    """Sum the contributions of features by cell (8, 8) and by landmark (68,)."""
    cells: NDArray[np.float64] | None = None
    points: NDArray[np.float64] | None = None
    start = 0
    widths = widths_of(feature_set, len(evidence))
    for name, width in zip(sets_of(feature_set), widths, strict=True):
        part, start = evidence[start : start + width], start + width
        if name == "hog":
            cells = sum_by_cell(part)
        elif name in POINT_SETS:
            sums = part.reshape(-1, POINT_SETS[name]).sum(axis=1)
            known = np.zeros(N_LANDMARKS) if points is None else points
            known[N_LANDMARKS - len(sums) :] += sums  # `reference` excludes point 0
            points = known
    return cells, points


def sum_by_cell(hog: NDArray[np.float64]) -> NDArray[np.float64]:
    """Sum values of HOG features (1764,) by cell of the face (8, 8), rows from the top.

    Blocks of two by two cells overlap, so a cell belongs to as many as four blocks. Blocks, and the
    cells in a block, are in column order.
    """
    blocks = hog.reshape(7, 7, 2, 2, HOG_BINS).sum(axis=4)
    cells = np.zeros((8, 8))
    for column in range(2):
        for row in range(2):
            cells[row : row + 7, column : column + 7] += blocks[:, :, column, row].T
    return cells


def evidence_panel(
    name: str,
    maps: tuple[NDArray[np.float64] | None, NDArray[np.float64] | None],
    frames: pd.DataFrame,
    faces: FaceSource,
) -> EvidencePanel:
    """The map of a class on the mean of its faces, or of their landmarks.

    Args:
        name: The class.
        maps: Values by cell of the aligned face, and by landmark; None for either.
        frames: The images of the class.
        faces: Their faces, if they may be shown.
    """
    rows: list[Row] = frames.to_dict("records")  # type: ignore[assignment]
    points = [landmarks_xy(row) for row in rows]
    aligned = [
        xy @ turn[:, :2].T + turn[:, 2] for xy, turn in ((xy, similarity(xy)) for xy in points)
    ]
    face = _mean_face(rows, faces)
    return EvidencePanel(name, np.mean(aligned, axis=0), face, *maps)


def _mean_face(rows: Sequence[Row], faces: FaceSource) -> Gray | None:
    """The mean of aligned faces (128, 128), evenly spaced among the rows; None if not allowed."""
    chosen = np.unique(np.linspace(0, len(rows) - 1, MAX_AVERAGED).round().astype(int))
    total, n = np.zeros((FACE_PX, FACE_PX)), 0
    for row in (rows[at] for at in chosen):
        crop = faces.crop(row)
        if crop is not None:
            total, n = total + align(crop, landmarks_xy(row)), n + 1
    return (total / n).round().astype(np.uint8) if n else None


def evidence_picture(name: str, alt: str, panels: Sequence[EvidencePanel]) -> Picture:
    """Draw panels for narrow and wide screens.

    Args:
        name: Name of the picture.
        alt: What it shows; the main region of each class is appended.
        panels: The panels.
    """
    regions = "; ".join(f"{panel.name}: {_describe(panel)}" for panel in panels)
    narrow, wide = (
        draw_picture(name, f"{alt}. {regions}.", partial(evidence_maps, panels, layout))
        for layout in (False, True)
    )
    return replace(narrow, wide=wide)


def _describe(panel: EvidencePanel) -> str:
    """The region with the largest contribution, as a text alternative."""
    if panel.points is not None:
        sums = {name: float(panel.points[part].sum()) for name, part in REGIONS.items()}
        return f"mostly the {max(sums, key=lambda name: sums[name])}"
    if panel.cells is not None:
        row, column = np.unravel_index(int(panel.cells.argmax()), panel.cells.shape)
        vertical = ("upper", "middle", "lower")[int(row) * 3 // len(panel.cells)]
        side = "left" if 2 * column < len(panel.cells) else "right"
        return f"mostly the {vertical} {side}"
    raise ValueError("a panel needs cells or points")
