"""`fer-ray label-issues`: labels that look wrong, as a table, a section of the report and a CSV."""

import csv
import io
from pathlib import Path
from typing import Any

import pyarrow as pa

from fer_ray.errors import UserError
from fer_ray.evaluation.experiments.experiment_groups import group_experiments
from fer_ray.evaluation.experiments.results import (
    ExperimentResults,
    find_experiment,
    read_experiments,
)
from fer_ray.evaluation.label_issues import count_pairs, label_issues
from fer_ray.pipelines.report import run_report
from fer_ray.storage.files import write_bytes
from fer_ray.storage.parquet import write_table
from fer_ray.storage.run_folder import RunFolder, frames_record

CSV_COLUMNS = ("path", "emotion", "subject", "suggested", "p_emotion", "p_suggested", "problem")
TOP = 20  # issues in the record


def find_label_issues(
    out: Path,
    experiment: str | None = None,
    csv_file: Path | None = None,
    source: Path | None = None,
    show_faces: bool = False,
) -> dict[str, Any]:
    """Rank the labels of a run folder by how wrong they look, and write table and report.

    Args:
        out: Run folder, locked by the caller.
        experiment: Name of the experiment whose test predictions are compared with the labels.
            None: the best one of the report's first group.
        csv_file: CSV file of all labels to write, the most suspicious first.
        source: Folder of the images, if they have moved.
        show_faces: Show faces in the report.

    Returns:
        `experiment`, its `accuracy`, `labelled` images, `predicted` ones, number of `issues`,
        `pairs` of given and suggested class, `conflicts`, the first issues as `top`, and the paths
        of the files.

    Raises:
        UserError: There are no finished frames or trials, or the CSV file cannot be written.
    """
    frames_record(out)
    run, chosen = RunFolder(out), _choose(out, experiment)
    table = label_issues(run.frames, chosen)
    metadata = {"experiment": chosen.name, "fingerprint": chosen.trials["fingerprint"].iloc[0]}
    write_table(table.replace_schema_metadata(metadata), run.label_issues)
    if csv_file is not None:
        _write_csv(table, csv_file)
    page = run_report(out, source, show_faces)
    rows = table.to_pandas()
    return {
        "experiment": chosen.name,
        "accuracy": chosen.summary.test_accuracy,
        "labelled": len(rows),
        "predicted": int(rows["suggested"].notna().sum()),
        "issues": int(rows["rank"].notna().sum()),
        "pairs": [
            {"emotion": given, "suggested": suggested, "images": count, "share": share}
            for given, suggested, count, share in count_pairs(rows)
        ],
        "conflicts": _conflicts(table),
        "top": table.slice(0, min(TOP, int(rows["rank"].notna().sum()))).to_pylist(),
        "table": str(run.label_issues),
        "report": str(page),
        "csv": None if csv_file is None else str(csv_file),
    }


def _choose(out: Path, name: str | None) -> ExperimentResults:
    if name is not None:
        return find_experiment(read_experiments(out), name)
    experiments = read_experiments(out)
    if not experiments:
        raise UserError(
            f"{out} has no trials, which are needed to rank labels. Run `fer-ray trials --out "
            f"{out} --protocol subject-10fold` first."
        )
    return group_experiments(experiments)[0].best


def _conflicts(table: pa.Table) -> list[dict[str, Any]]:
    """Each group of images of one picture once, with the label of each image."""
    emotions = dict(zip(table["image_id"].to_pylist(), table["emotion"].to_pylist(), strict=True))
    groups = {
        (row["conflict"], *sorted([row["image_id"], *row["conflicts_with"]]))
        for row in table.to_pylist()
        if row["conflict"]
    }
    return [
        {"kind": kind, "images": {name: emotions[name] for name in images}}
        for kind, *images in sorted(groups)
    ]


def _write_csv(table: pa.Table, file: Path) -> None:
    """Write a file of labels that `--data` accepts in the folder of the images."""
    with io.StringIO() as text:
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(CSV_COLUMNS)
        for row in table.to_pylist():
            numbers = [row[name] for name in ("p_emotion", "p_suggested")]
            writer.writerow(
                [
                    *(row["path"], row["emotion"], row["subject"], row["suggested"]),
                    *("" if number is None else f"{number:.3f}" for number in numbers),
                    _describe_problem(row),
                ]
            )
        content = text.getvalue().encode()
    try:
        write_bytes(content, file)
    except OSError as problem:
        raise UserError(f"Cannot write {file}: {problem.strerror}. Pass another --csv.") from None


def _describe_problem(row: dict[str, Any]) -> str:
    problems = [] if row["rank"] is None else [f"label issue {row['rank']}"]
    if row["conflict"]:
        meaning = "same file as" if row["conflict"] == "content" else "looks the same as"
        problems.append(f"{meaning} {' '.join(row['conflicts_with'])}")
    return "; ".join(problems)
