"""Reading the bottleneck features that a run folder holds."""

import shlex
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from fer_ray.errors import UserError
from fer_ray.storage.files import read_json
from fer_ray.storage.parquet import read_table
from fer_ray.storage.run_folder import RunFolder
from fer_ray.vocabulary import Origin


def table_name(backbone: str, maps: bool = False, augmented: bool = False) -> str:
    """Name of a table below `bottleneck/`."""
    return f"{backbone}{'-maps' if maps else ''}{'-augmented' if augmented else ''}"


def read_records(out: Path) -> dict[str, dict[str, Any]]:
    """The records of all tables of bottleneck features, by the table's name."""
    files = sorted(RunFolder(out).bottleneck.glob("*.json"))
    records = {file.stem: read_json(file) for file in files}
    return {name: record for name, record in records.items() if record is not None}


def trained_record(out: Path, backbone: str, draws: int = 0) -> dict[str, Any]:
    """The record of a backbone's pooled features, fit to train and test on.

    Args:
        out: Run folder.
        backbone: Its name.
        draws: Augmented ones, of which so many are needed; 0: those of the images as they are.

    Raises:
        UserError: They are not there, or come from weights that were never trained.
    """
    table, other = (table_name(backbone, augmented=one) for one in (draws > 0, draws == 0))
    record = read_json(RunFolder(out).bottleneck_record(table))
    if record is None or not RunFolder(out).bottleneck_table(table).is_dir():
        beside = read_json(RunFolder(out).bottleneck_record(other))
        raise UserError(
            f"{out} holds no features of {table}. Compute them: "
            f"{command(out, backbone, beside, draws)}"
        )
    if record["weights"]["origin"] == Origin.UNTRAINED:
        raise UserError(
            f"The features of {table} come from weights that were never trained "
            f"({record['weights']['file']}): no accuracy on them means anything. Give the "
            "published weights, or trained ones of yours, and --fresh."
        )
    return record


def command(out: Path, backbone: str, like: dict[str, Any] | None, draws: int = 0) -> str:
    """The command that computes features with the weights of some that are there.

    Args:
        out: Run folder.
        backbone: Its name.
        like: The record of the features whose weights are to be taken. None: the backbone's own.
        draws: Of each image.
    """
    words = ["fer-ray", "bottleneck", "--out", str(out), "--backbone", backbone]
    if like is not None and like["weights"]["origin"] != Origin.EMBEDDED:
        words += ["--weights", like["weights"]["file"]]
    words += ["--draws", str(draws)] if draws else []
    return shlex.join(words)


def read_features(out: Path, backbone: str, image_ids: list[str]) -> NDArray[np.float32]:
    """Pooled features (n, width) of images of a run folder.

    Raises:
        UserError: They are not there, or not to be trained on.
    """
    record = trained_record(out, backbone)
    return _in_order(_read(out, table_name(backbone), record), image_ids)


def read_draws(out: Path, backbone: str, image_ids: list[str], draws: int) -> NDArray[np.float32]:
    """Pooled features (draws, n, width) of augmented draws; NaN of images that were not drawn.

    Raises:
        UserError: They are not there, or not to be trained on.
    """
    record = trained_record(out, backbone, draws)
    table = _read(out, table_name(backbone, augmented=True), record)
    by_draw = [table.filter(pc.equal(table["draw"], number)) for number in range(draws)]
    return np.stack([_in_order(one, image_ids, lacking=True) for one in by_draw])


def _read(out: Path, table: str, record: dict[str, Any]) -> pa.Table:
    rows = read_table(
        RunFolder(out).bottleneck_table(table), columns=["image_id", "draw", "features"]
    )
    if not np.isfinite(rows["features"].combine_chunks().flatten().to_numpy()).all():
        raise UserError(
            f"The features of {table} in {out} are not all finite numbers, so nothing can be "
            f"trained on them. Their weights: {record['weights']['file']}. Compute them with "
            "others and --fresh."
        )
    return rows


def _in_order(table: pa.Table, image_ids: list[str], lacking: bool = False) -> NDArray[np.float32]:
    """Features in the order of the images; where some may be `lacking`, these are NaN."""
    position = {name: at for at, name in enumerate(table["image_id"].to_pylist())}
    values = table["features"].combine_chunks().flatten().to_numpy().reshape(len(position), -1)
    if lacking:
        values = np.vstack([values, np.full(values.shape[1], np.nan, np.float32)])
        position = {name: position.get(name, -1) for name in image_ids}
    found: NDArray[np.float32] = values[[position[name] for name in image_ids]]
    return found
