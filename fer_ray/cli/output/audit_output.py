"""The output of transfer, label issues and groups on the terminal."""

from pathlib import Path
from typing import Any

from rich.markup import escape
from rich.table import Table

from fer_ray.cli.given_paths import as_given
from fer_ray.cli.output.console import output_console
from fer_ray.storage.files import read_json
from fer_ray.storage.run_folder import RunFolder, TransferFolder

Row = dict[str, Any]


def print_transfer(record: dict[str, Any], out: Path) -> None:
    """Print the matrix, what was excluded, and the files written."""
    console, rows = output_console(), record["matrix"]
    if record.get("already_finished"):
        console.print("This matrix was already finished; nothing was recomputed.")
    table = Table("trained on", "tested on", "images", "subjects", "accuracy", "macro recall",
                  "ECE", "difference to own folds", box=None, pad_edge=False)  # fmt: skip
    for row in rows:
        table.add_row(
            row["train"],
            f"{row['test']} (folds)" if row["train"] == row["test"] else row["test"],
            str(row["images"]),
            str(row["subjects"] or "unknown"),
            *(_with_interval(row, name) for name in ("accuracy", "macro_recall")),
            _format(row.get("calibration_error"), "{:.3f}"),
            _with_interval(row, "difference_to_own", "{:+.3f}"),
        )
    console.print(table)
    shared = ", ".join(record["shared_classes"]) or "none"
    console.print(f"95% intervals by bootstrap over subjects. Shared classes: {shared}")
    for line in [line for row in rows for line in _notes(row)]:
        console.print(line, markup=False)
    console.print(as_given(f"matrix: {TransferFolder(out).matrix}"), markup=False)
    console.print(as_given(f"page: {TransferFolder(out).report / 'index.html'}"), markup=False)


def print_label_issues(record: dict[str, Any]) -> None:
    """Print label issues by class, the first of them, conflicts, and the files written."""
    console = output_console()
    console.print(f"{record['issues']} of {record['predicted']} labels look wrong, "
                  f"according to {record['experiment']}, whose accuracy is "
                  f"{record['accuracy']:.1%}", markup=False)  # fmt: skip
    pairs = Table("given", "suggested", "labels", "share of class", box=None, pad_edge=False)
    for pair in record["pairs"]:
        share = f"{pair['share']:.1%}"
        pairs.add_row(pair["emotion"], pair["suggested"], str(pair["images"]), share)
    top = Table("rank", "image", "given", "p", "suggested", "p", box=None, pad_edge=False)
    for row in record["top"]:
        top.add_row(str(row["rank"]), row["image_id"], row["emotion"], f"{row['p_emotion']:.2f}",
                    row["suggested"], f"{row['p_suggested']:.2f}")  # fmt: skip
    for table in (pairs, top) if record["issues"] else ():
        console.print(table)
    for conflict in record["conflicts"]:
        meaning = "are the same file" if conflict["kind"] == "content" else "look the same"
        images = ", ".join(f"{name} ({label})" for name, label in conflict["images"].items())
        console.print(f"Conflict: {images} {meaning}", markup=False)
    for name in ("table", "csv", "report"):
        if record[name]:
            console.print(as_given(f"{name}: {record[name]}"), markup=False)


def print_group_figures(out: Path) -> None:
    """Print figures by group and the gaps between groups, which a run folder contains."""
    from fer_ray.report.sections.group_section import tables_of_column

    record = read_json(RunFolder(out).groups_record)
    if record is None:
        return
    console = output_console()
    console.print(f"figures by group of {record['experiment']}:", markup=False)
    for name, part in record["columns"].items():
        column = tables_of_column(name, part)
        groups = Table(name, "images", "subjects", "accuracy", "macro recall", "ECE",
                       "ECE by chance", box=None, pad_edge=False)  # fmt: skip
        gaps = Table("gap", "better", "worse", "points", "95% interval", "p-value",
                     box=None, pad_edge=False)  # fmt: skip
        for table, rows in ((groups, column.groups), (gaps, column.gaps)):
            for cells in rows:
                table.add_row(*map(escape, cells))
            if rows:
                console.print(table)
        if column.note:
            console.print(column.note, markup=False)
    if any(part["gaps"] for part in record["columns"].values()):
        console.print("p-value: how often groups of the same sizes, drawn at random from the same "
                  "people, differ at least as much")  # fmt: skip


def _notes(row: Row) -> list[str]:
    """What was left out of a cell, or why the cell has no figures."""
    pair = f"{row['train']} → {row['test']}"
    if row["problem"]:
        return [f"{pair}: not computed, because {row['problem']}"]
    kinds = {
        "subject": "show a person of the test images",
        "content": "are the same file as a test image",
        "near_duplicate": "look the same as a test image",
    }
    counts = {meaning: row[f"excluded_{kind}"] for kind, meaning in kinds.items()}
    found = [f"{count} {meaning}" for meaning, count in counts.items() if count]
    notes = [f"{pair}: excluded training images: {', '.join(found)}"] if found else []
    if row["unknown_class"]:
        notes.append(
            f"{pair}: {row['unknown_class']} test images of classes without training images were "
            "not tested; the difference to own folds is on the images that were"
        )
    return notes


def _with_interval(row: Row, name: str, template: str = "{:.3f}") -> str:
    ends = [_format(row.get(f"{name}_{end}"), template) for end in ("low", "high")]
    value = _format(row.get(name), template)
    return f"{value} ({' – '.join(ends)})" if all(ends) else value


def _format(value: float | None, template: str) -> str:
    return "" if value is None else template.format(value)
