"""Read the bottleneck features of a run folder."""

import shlex
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from fer_ray.errors import UserError
from fer_ray.settings.backbones import BACKBONES
from fer_ray.settings.feature_sets import KNOWN_SETS
from fer_ray.storage.files import read_json
from fer_ray.storage.parquet import is_complete, read_table
from fer_ray.storage.run_folder import RunFolder
from fer_ray.vocabulary import Origin


def table_name(backbone: str, maps: bool = False, augmented: bool = False) -> str:
    """Name of a table below `bottleneck/`."""
    return f"{backbone}{'-maps' if maps else ''}{'-augmented' if augmented else ''}"


def read_records(out: Path) -> dict[str, dict[str, Any]]:
    """Records of all tables of bottleneck features in a run folder, by table name."""
    files = sorted(RunFolder(out).bottleneck.glob("*.json"))
    records = {file.stem: read_json(file) for file in files}
    return {name: record for name, record in records.items() if record is not None}


def trained_record(out: Path, backbone: str, draws: int = 0) -> dict[str, Any]:
    """Record of the pooled features of a backbone with trained weights.

    Args:
        out: Run folder.
        backbone: Name of the backbone.
        draws: Augmented copies needed per image; 0 for the features of the original images.

    Raises:
        UserError: The features do not exist, or their weights are untrained.
    """
    folder = RunFolder(out)
    table = table_name(backbone, augmented=draws > 0)
    record = read_json(folder.bottleneck_record(table))
    if record is None or not is_complete(folder.bottleneck_table(table), record):
        _require_possible(out, backbone, read_records(out))
        related = read_json(folder.bottleneck_record(table_name(backbone, augmented=draws == 0)))
        raise UserError(
            f"{out} has no features of {table}. Compute them with: "
            f"{bottleneck_command(out, backbone, related, draws)}"
        )
    if record["weights"]["origin"] == Origin.UNTRAINED:
        raise UserError(
            f"The features of {table} come from untrained weights ({record['weights']['file']}), "
            "so accuracies on them are meaningless. Pass the published weights, or trained weights "
            "of your own, and --fresh."
        )
    return record


def bottleneck_command(
    out: Path, backbone: str, related: dict[str, Any] | None, draws: int = 0
) -> str:
    """The command that computes features of a backbone.

    Args:
        out: Run folder.
        backbone: Name of the backbone.
        related: Record of features whose weights the command uses; None for the default weights.
        draws: Augmented copies per image.
    """
    words = ["fer-ray", "bottleneck", "--out", str(out), "--backbone", backbone]
    if related is not None and related["weights"]["origin"] != Origin.EMBEDDED:
        words += ["--weights", related["weights"]["file"]]
    if related is not None and related.get("network"):
        words += _interface_options(related["network"])
    words += ["--draws", str(draws)] if draws else []
    return shlex.join(words)


def _require_possible(out: Path, backbone: str, records: dict[str, dict[str, Any]]) -> None:
    """Require that a backbone is in the table, or that the run folder has features of it.

    Raises:
        UserError: The backbone is unknown, and may be a misspelt feature set.
    """
    if backbone not in BACKBONES and not any(
        record["backbone"] == backbone for record in records.values()
    ):
        raise UserError(
            f"{backbone} is not a feature set, and {out} has no features of a network of that "
            f"name. Specify {KNOWN_SETS}, or compute the features of your network with: fer-ray "
            f"bottleneck --out {shlex.quote(str(out))} --backbone {backbone}=FILE"
        )


def _interface_options(network: dict[str, Any]) -> list[str]:
    words = ["--input-px", str(network["input_px"]), "--colours", network["colours"]]
    for name in ("mean", "std"):
        words += [f"--{name}", ",".join(f"{value:.9g}" for value in network[name])]
    return words + (["--output", network["output"]] if network["output"] else [])


def read_features(out: Path, backbone: str, image_ids: list[str]) -> NDArray[np.float32]:
    """Read the pooled features of images.

    Returns:
        (n, width) float32, in the order of `image_ids`.

    Raises:
        UserError: The features do not exist, are not finite, or come from untrained weights.
    """
    record = trained_record(out, backbone)
    return _in_order(_read(out, table_name(backbone), record), image_ids)


def read_augmented_features(
    out: Path, backbone: str, image_ids: list[str], draws: int
) -> NDArray[np.float32]:
    """Read the pooled features of augmented copies of images.

    Returns:
        (draws, n, width) float32, in the order of `image_ids`; NaN for images without copies.

    Raises:
        UserError: The features do not exist, are not finite, or come from untrained weights.
    """
    record = trained_record(out, backbone, draws)
    table = _read(out, table_name(backbone, augmented=True), record)
    by_draw = [table.filter(pc.equal(table["draw"], number)) for number in range(draws)]
    return np.stack([_in_order(rows, image_ids, allow_missing=True) for rows in by_draw])


def _read(out: Path, table: str, record: dict[str, Any]) -> pa.Table:
    folder = RunFolder(out).bottleneck_table(table)
    files = [folder / name for name in record["files"]]  # not those of a table that replaces it
    rows = read_table(files, columns=["image_id", "draw", "features"])
    if not np.isfinite(rows["features"].combine_chunks().flatten().to_numpy()).all():
        raise UserError(
            f"The features of {table} in {out} contain NaN or infinite values, so no classifier "
            f"can be trained on them. Their weights are {record['weights']['file']}. Recompute the "
            "features with other weights and --fresh."
        )
    return rows


def _in_order(
    table: pa.Table, image_ids: list[str], allow_missing: bool = False
) -> NDArray[np.float32]:
    """Features (n, width) in the order of `image_ids`; NaN for missing ones, if allowed."""
    position = {name: row for row, name in enumerate(table["image_id"].to_pylist())}
    values = table["features"].combine_chunks().flatten().to_numpy().reshape(len(position), -1)
    if allow_missing:
        values = np.vstack([values, np.full(values.shape[1], np.nan, np.float32)])
        position = {name: position.get(name, -1) for name in image_ids}
    ordered: NDArray[np.float32] = values[[position[name] for name in image_ids]]
    return ordered
