"""The section of a report on labels that look wrong."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fer_ray.evaluation.experiments.results import ExperimentResults, RunResults
from fer_ray.evaluation.label_issues import count_pairs
from fer_ray.report.figures.landmark_plots import FaceSource
from fer_ray.report.sections.misclassified import ImageCard, image_card, predicted_rows
from fer_ray.report.text import formatting
from fer_ray.storage.parquet import read_table
from fer_ray.storage.run_folder import RunFolder

MAX_LISTED = 50
MAX_CARDS = 24

Cells = list[tuple[str, ...]]


@dataclass(frozen=True)
class LabelIssues:
    """Labels that look wrong.

    Attributes:
        experiment: The experiment whose test predictions are compared with them.
        predicted: Number of labels that were compared.
        issues: Number of labels that look wrong.
        pairs: Cells of the table by given and suggested class.
        listed: Cells of the first issues.
        conflicts: Cells of the images of one picture under several labels.
        cards: Cards of the first issues; empty unless faces are shown.
    """

    experiment: ExperimentResults
    predicted: int
    issues: int
    pairs: Cells
    listed: Cells
    conflicts: Cells
    cards: tuple[ImageCard, ...]


def read_label_issues(run_dir: Path, run: RunResults, faces: FaceSource) -> LabelIssues | None:
    """Read the label issues of a run folder; None if there are none for its present experiments.

    Args:
        run_dir: The run folder.
        run: Its results.
        faces: Source of face crops.
    """
    file = RunFolder(run_dir).label_issues
    if not file.is_file():
        return None
    table = read_table(file)
    metadata = {
        key.decode(): value.decode() for key, value in (table.schema.metadata or {}).items()
    }
    experiment = next((one for one in run.experiments if _is_source_of(one, metadata)), None)
    if experiment is None:
        return None
    rows = table.to_pylist()
    issues = [row for row in rows if row["rank"] is not None]
    return LabelIssues(
        experiment=experiment,
        predicted=sum(row["suggested"] is not None for row in rows),
        issues=len(issues),
        pairs=[
            (f"{given} → {suggested}", str(count), formatting.percent(share))
            for given, suggested, count, share in count_pairs(table.to_pandas())
        ],
        listed=[_cells(row) for row in issues[:MAX_LISTED]],
        conflicts=[_conflict_cells(row) for row in rows if row["conflict"]][:MAX_LISTED],
        cards=_cards(experiment, run, faces, [row["image_id"] for row in issues[:MAX_CARDS]]),
    )


def _is_source_of(experiment: ExperimentResults, metadata: dict[str, str]) -> bool:
    key = experiment.trials["fingerprint"].iloc[0]
    return (experiment.name, key) == (metadata.get("experiment"), metadata.get("fingerprint"))


def _cells(row: dict[str, Any]) -> tuple[str, ...]:
    return (
        str(row["rank"]),
        row["image_id"],
        row["emotion"],
        row["suggested"],
        formatting.percent(row["p_emotion"]),
        formatting.percent(row["p_suggested"]),
    )


def _conflict_cells(row: dict[str, Any]) -> tuple[str, ...]:
    found = "the same file" if row["conflict"] == "content" else "looks the same"
    return row["image_id"], row["emotion"], found, ", ".join(row["conflicts_with"])


def _cards(
    experiment: ExperimentResults, run: RunResults, faces: FaceSource, names: list[str]
) -> tuple[ImageCard, ...]:
    if not faces.allowed:
        return ()
    chosen = experiment.predictions[experiment.predictions["image_id"].isin(names)]
    rows = {row["image_id"]: row for row in predicted_rows(chosen, run.usable)}
    return tuple(image_card(rows[name], faces) for name in names if name in rows)
