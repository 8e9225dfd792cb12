"""The section of a report with figures by group."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fer_ray.evaluation.attribute_groups import COMPARED, MIN_SUBJECTS
from fer_ray.evaluation.experiments.results import ExperimentResults, RunResults
from fer_ray.report.text import formatting
from fer_ray.storage.files import read_json
from fer_ray.storage.run_folder import RunFolder

NAMES = {
    "accuracy": "Accuracy",
    "macro_recall": "Macro recall",
    "calibration_error": "Calibration error",
}

Cells = list[tuple[str, ...]]


@dataclass(frozen=True)
class ColumnGroups:
    """The tables of one column.

    Attributes:
        column: Its name.
        groups: Name, images, subjects, and figures of each group.
        gaps: Metric, better and worse group, gap, interval and p-value.
        note: Images without a value, in words; empty if there are none.
    """

    column: str
    groups: Cells
    gaps: Cells
    note: str


@dataclass(frozen=True)
class GroupSection:
    """Figures by group.

    Attributes:
        experiment: The experiment.
        columns: The tables of each column.
        min_subjects: Subjects that a group needs for figures.
    """

    experiment: ExperimentResults
    columns: tuple[ColumnGroups, ...]
    min_subjects: int = MIN_SUBJECTS


def read_groups(run_dir: Path, run: RunResults) -> GroupSection | None:
    """Read the groups of a run folder; None if there are none for its present experiments.

    Args:
        run_dir: The run folder.
        run: Its results.
    """
    record = read_json(RunFolder(run_dir).groups_record)
    if record is None:
        return None
    key = (record["experiment"], record["fingerprint"])
    matching = (one for one in run.experiments
                if (one.name, one.trials["fingerprint"].iloc[0]) == key)  # fmt: skip
    experiment = next(matching, None)
    if experiment is None:
        return None
    columns = record["columns"].items()
    return GroupSection(experiment, tuple(tables_of_column(name, part) for name, part in columns))


def tables_of_column(name: str, part: dict[str, Any]) -> ColumnGroups:
    """Format the figures of one column.

    Args:
        name: The column.
        part: Its entry in `groups.json`.
    """
    missing = part["images_without_value"]
    return ColumnGroups(
        name,
        [_group_cells(row) for row in part["groups"]],
        [_gap_cells(metric, gap) for metric, gap in part["gaps"].items()],
        f"{missing} tested images have no value." if missing else "",
    )


def _group_cells(row: dict[str, Any]) -> tuple[str, ...]:
    sizes = (row["group"], str(row["images"]), str(row["subjects"]))
    if row["too_small"]:
        return *sizes, *["too few subjects"] * (len(COMPARED) + 1)
    return (
        *sizes,
        *(
            formatting.with_interval(row[name], (row[f"{name}_low"], row[f"{name}_high"]))
            if row[name] is not None
            else "–"
            for name in COMPARED
        ),
        formatting.percent(row["chance_calibration_error"]),
    )


def _gap_cells(metric: str, gap: dict[str, Any]) -> tuple[str, ...]:
    points = formatting.plain_points(gap["gap"])
    interval = formatting.signed_interval(gap["interval"])
    p_value = "–" if gap["p_value"] is None else f"{gap['p_value']:.2g}"
    return NAMES[metric], gap["better"], gap["worse"], points, interval, p_value
