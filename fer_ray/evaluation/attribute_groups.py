"""Figures by group of people or images, and the gaps between groups."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
from numpy.typing import NDArray

from fer_ray.errors import UserError
from fer_ray.evaluation import bootstrap
from fer_ray.evaluation.bootstrap import FIGURES, figures_of, interval_ends, prediction_sums
from fer_ray.evaluation.experiments.summary import BOOTSTRAP_SEED, independent_groups
from fer_ray.evaluation.metrics import chance_calibration_error

# Below this many subjects, the 95% interval of an accuracy of 80% spans more than 33 points.
MIN_SUBJECTS = 20
MAX_GROUPS = 20
NUMERIC_VALUES = 8  # a column with more distinct numbers is divided into ranges
N_RANGES = 4
COMPARED = ("accuracy", "macro_recall", "calibration_error")
LOWER_IS_BETTER = {"calibration_error"}
ENDS = ("", "_low", "_high")
PERMUTATIONS = 1000

# `DIR/groups.parquet`: one row per column of attributes and group.
GROUPS_SCHEMA = pa.schema(
    [
        pa.field("experiment", pa.string(), nullable=False),
        pa.field("column", pa.string(), nullable=False),
        pa.field("group", pa.string(), nullable=False),
        pa.field("images", pa.int32(), nullable=False),
        pa.field("subjects", pa.int32(), nullable=False),  # images, where a subject is unknown
        pa.field("too_small", pa.bool_(), nullable=False),  # for figures, which are then null
        *(pa.field(f"{name}{end}", pa.float64()) for name in COMPARED for end in ENDS),
        pa.field("chance_calibration_error", pa.float64()),
    ]
)


@dataclass(frozen=True)
class GroupFigures:
    """Figures by group of one column.

    Attributes:
        rows: Rows of `GROUPS_SCHEMA`, without `experiment`.
        gaps: By metric: the `better` and the `worse` group, the `gap` between them, its 95%
            `interval`, and its `p_value` (`_permuted_gaps`), None if a subject is in several
            groups. Empty with fewer than two groups of sufficient size.
        without_value: Number of images without a value in this column.
    """

    rows: list[dict[str, Any]]
    gaps: dict[str, dict[str, Any]]
    without_value: int


def group_figures(predictions: pd.DataFrame, column: str, values: pd.Series) -> GroupFigures:
    """Compute accuracy, macro recall and calibration error by group, and the gaps.

    Macro recall is the mean over the classes that all groups of sufficient size have in common.
    Intervals are over bootstrap samples of subjects, drawn jointly for all groups, so a subject may
    be in several.

    Args:
        predictions: Test predictions (`schemas.PREDICTIONS_SCHEMA`) with a `subject` column.
        column: Name of the column.
        values: Its value by image_id; images without one are not in the index, or None.

    Raises:
        UserError: The column has no value for a tested image, or too many different ones.
    """
    value = predictions["image_id"].map(values)
    known = predictions[value.notna()].reset_index(drop=True)
    without_value = int(predictions.loc[value.isna(), "image_id"].nunique())
    if known.empty:
        raise UserError(f"No tested image has a value in the column {column}. Correct --groups.")
    groups = divide(value.dropna().astype(str).reset_index(drop=True), column)
    units = independent_groups(known)[0].astype(str)
    rows = [
        {
            "column": column,
            "group": name,
            "images": int(known.loc[groups == name, "image_id"].nunique()),
            "subjects": int(units[groups == name].nunique()),
            "too_small": bool(units[groups == name].nunique() < MIN_SUBJECTS),
        }
        for name in groups.cat.categories
    ]
    large = [row for row in rows if not row["too_small"]]
    if not large:
        return GroupFigures(rows, {}, without_value)
    names = [row["group"] for row in large]
    classes = _common_classes(known["label"], groups, names)
    sums = prediction_sums(known)
    figures, samples = _figures_and_samples(sums, groups, units, names, classes)
    for number, row in enumerate(large):
        low, high = interval_ends(figures[number], samples[:, number])
        for name in COMPARED:
            at = FIGURES.index(name)
            ends = figures[number, at], max(0, low[at]), high[at]
            row |= {f"{name}{end}": _known(float(one)) for end, one in zip(ENDS, ends, strict=True)}
        own = known.loc[groups == row["group"], "probabilities"]
        row["chance_calibration_error"] = chance_calibration_error(np.stack(own.to_list()))
    gaps = _gaps(names, figures, samples)
    permuted = _permuted_gaps(sums, groups, units, names, classes) if gaps else None
    for name, gap in gaps.items():
        gap["p_value"] = None if permuted is None else _p_value(gap["gap"], permuted[name])
    return GroupFigures(rows, gaps, without_value)


def divide(values: "pd.Series[str]", column: str) -> "pd.Series[str]":
    """Divide images into groups: by value, or many numbers into ranges of similar size.

    Args:
        values: One per prediction.
        column: Name of the column in messages.

    Returns:
        The group of each prediction, as an ordered categorical.

    Raises:
        UserError: The column has too many groups.
    """
    numbers = pd.to_numeric(values, errors="coerce")
    if numbers.notna().all() and numbers.nunique() > NUMERIC_VALUES:
        edges = np.unique(np.quantile(numbers, np.linspace(0, 1, N_RANGES + 1), method="lower"))
        position = np.clip(np.searchsorted(edges, numbers, side="right") - 1, 0, len(edges) - 2)
        names = [_range_name(numbers[position == at]) for at in range(len(edges) - 1)]
        return pd.Series(pd.Categorical([names[at] for at in position], names, ordered=True))
    names = sorted(values.unique())
    if len(names) > MAX_GROUPS:
        raise UserError(
            f"The column {column} has {len(names)} different values, and a comparison of groups "
            f"takes at most {MAX_GROUPS}. Pass a column with fewer values as --groups."
        )
    return pd.Series(pd.Categorical(values, names, ordered=True))


def _range_name(numbers: "pd.Series[float]") -> str:
    return f"{numbers.min():.15g} to {numbers.max():.15g}"  # exact, so that no two are the same


def _common_classes(
    labels: "pd.Series[int]", groups: "pd.Series[str]", names: list[str]
) -> list[int]:
    return sorted(set.intersection(*(set(labels[groups == name].tolist()) for name in names)))


def _figures_and_samples(
    sums: NDArray[np.float64],
    groups: "pd.Series[str]",
    units: "pd.Series[str]",
    names: list[str],
    classes: list[int],
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Figures of each group (groups, 5), and of each bootstrap sample (samples, groups, 5).

    Args:
        sums: From `prediction_sums`.
        groups: Group of each prediction.
        units: Subject of each prediction.
        names: The groups to compare.
        classes: Class codes that recall is averaged over.
    """
    parts = [np.where((groups == name).to_numpy()[:, None], sums, 0) for name in names]
    by_unit = bootstrap.sum_by_unit(np.hstack(parts), units.to_numpy(dtype=str))
    totals = by_unit.sum(axis=0).reshape(len(names), -1)
    overall = [bootstrap.recalls_and_f1(total) for total in totals]
    figures = [figures_of(total, classes) for total in totals]
    samples = [
        [
            figures_of(total, classes, recalls)
            for total, recalls in zip(sample.reshape(len(names), -1), overall, strict=True)
        ]
        for sample in bootstrap.resample(by_unit)
    ]
    return np.array(figures), np.array(samples)


def _gaps(
    names: list[str], figures: NDArray[np.float64], samples: NDArray[np.float64]
) -> dict[str, dict[str, Any]]:
    gaps = {}
    for name in COMPARED if len(names) > 1 else ():
        at = FIGURES.index(name)
        if np.isnan(figures[:, at]).any():  # no class in common
            continue
        order = np.argsort(figures[:, at], kind="stable")
        low, high = int(order[0]), int(order[-1])
        worse, better = (high, low) if name in LOWER_IS_BETTER else (low, high)
        ends = interval_ends(figures[high] - figures[low], samples[:, high] - samples[:, low])
        gaps[name] = {
            "better": names[better],
            "worse": names[worse],
            "gap": float(figures[high, at] - figures[low, at]),
            "interval": [float(end[at]) for end in ends],
        }
    return gaps


def _permuted_gaps(
    sums: NDArray[np.float64],
    groups: "pd.Series[str]",
    units: "pd.Series[str]",
    names: list[str],
    classes: list[int],
) -> dict[str, NDArray[np.float64]] | None:
    """Gaps between groups of the same sizes to which the subjects are assigned at random.

    The largest of several gaps, and the calibration error of a small group, are large by chance
    alone. These gaps show by how much (permutation test: Good, Permutation Tests, 2000).

    Returns:
        `PERMUTATIONS` gaps by metric; None if a subject is in several groups.
    """
    rows = groups.isin(names).to_numpy()
    owners, place = np.unique(units[rows].to_numpy(dtype=str), return_inverse=True)
    numbers = np.array([names.index(name) for name in groups[rows]])
    group_of = np.zeros(len(owners), np.int64)
    group_of[place] = numbers
    if (group_of[place] != numbers).any():
        return None
    by_unit = bootstrap.sum_by_unit(sums[rows], owners[place])
    generator = np.random.default_rng(BOOTSTRAP_SEED)
    gaps = []
    for _ in range(PERMUTATIONS):
        shuffled = generator.permutation(group_of)
        totals = [by_unit[shuffled == number].sum(axis=0) for number in range(len(names))]
        figures = np.array([figures_of(total, classes) for total in totals])
        gaps.append(figures.max(axis=0) - figures.min(axis=0))
    return {name: np.array(gaps)[:, FIGURES.index(name)] for name in COMPARED}


def _p_value(gap: float, permuted: NDArray[np.float64]) -> float:
    """The share of permuted gaps that are at least as large, the actual one included."""
    return float((1 + np.sum(permuted >= gap)) / (1 + len(permuted)))


def _known(value: float) -> float | None:
    return None if np.isnan(value) else value
