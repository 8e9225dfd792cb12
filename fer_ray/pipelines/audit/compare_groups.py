"""Figures of an experiment by group, for the report: `--groups`."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa

from fer_ray.errors import UserError, did_you_mean
from fer_ray.evaluation.attribute_groups import GROUPS_SCHEMA, group_figures
from fer_ray.evaluation.experiments.experiment_groups import group_experiments
from fer_ray.evaluation.experiments.results import find_experiment, read_experiments
from fer_ray.sources.label_table import LABEL_COLUMNS, SUBJECT_COLUMNS, reduced_name
from fer_ray.storage.files import remove, write_json
from fer_ray.storage.parquet import read_schema, read_table, table_files, write_table
from fer_ray.storage.run_folder import RunFolder, frames_record

ATTRIBUTES = "attributes"


def compare_groups(
    out: Path, columns: Sequence[str], experiment: str | None = None
) -> dict[str, Any]:
    """Compute figures by group, and write `groups.parquet` and `groups.json`.

    Args:
        out: Run folder with trials, locked by the caller.
        columns: Further columns of the source's labels file.
        experiment: Name of the experiment. None: the best one of the report's first group.

    Returns:
        The record, as in `groups.json`.

    Raises:
        UserError: The run folder has no trials, or no such column; or a column has too many values.
    """
    frames_record(out)
    run, experiments = RunFolder(out), read_experiments(out)
    if not experiments:
        raise UserError(f"{out} has no trials: run `fer-ray trials --out {out}` first.")
    chosen = (
        group_experiments(experiments)[0].best
        if experiment is None
        else find_experiment(experiments, experiment)
    )
    attributes = read_attributes(run.frames)
    by_column = {
        column: group_figures(chosen.predictions, column, attributes[column].dropna())
        for column in find_columns(columns, attributes)
    }
    rows = [
        {"experiment": chosen.name, **row} for figures in by_column.values() for row in figures.rows
    ]
    record = {
        "experiment": chosen.name,
        "fingerprint": str(chosen.trials["fingerprint"].iloc[0]),
        "columns": {
            column: {
                "groups": figures.rows,
                "gaps": figures.gaps,
                "images_without_value": figures.without_value,
            }
            for column, figures in by_column.items()
        },
    }
    remove(run.groups_record)
    write_table(pa.Table.from_pylist(rows, schema=GROUPS_SCHEMA), run.groups)
    write_json(record, run.groups_record)
    return record


def read_attributes(frames: Path) -> pd.DataFrame:
    """The further columns of a labels file by image_id, as text; None where there is no value."""
    if ATTRIBUTES not in read_schema(table_files(frames)[0]).names:
        return pd.DataFrame()
    table = read_table(frames, columns=["image_id", ATTRIBUTES])
    rows = [dict(pairs or ()) for pairs in table[ATTRIBUTES].to_pylist()]
    return pd.DataFrame(rows, index=table["image_id"].to_pylist(), dtype=object)


def find_columns(given: Sequence[str], attributes: pd.DataFrame) -> list[str]:
    """The columns that `--groups` names; a value may name several, separated by commas.

    Raises:
        UserError: A column does not exist, or has the labels or subjects; or none is named.
    """
    known = list(attributes.columns)
    columns = [
        name.strip()
        for value in given
        for name in ([value] if value in known else value.split(","))
        if name.strip()
    ]
    for name in columns:
        if name not in known:
            raise UserError(_unknown_column(name, known))
    if not columns:
        raise UserError("--groups names no column. Pass one or more, such as --groups age site.")
    return list(dict.fromkeys(columns))


def _unknown_column(name: str, known: list[str]) -> str:
    if reduced_name(name) in LABEL_COLUMNS:
        return (
            f"{name} is the label column, and the report already shows figures by class. Pass "
            "another column as --groups."
        )
    if reduced_name(name) in SUBJECT_COLUMNS:
        return (
            f"{name} is the subject column, and one person is not a group. Pass a column whose "
            "values several people share as --groups, such as age or site."
        )
    return (
        f"The labels file of the source has no column {name} with values."
        f"{did_you_mean(name, known)} Columns other than path, label and subject: "
        f"{', '.join(known) or 'none'}. Correct --groups, or add the column and extract again."
    )
