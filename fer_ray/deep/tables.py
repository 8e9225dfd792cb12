"""Reading the bottleneck features that a run folder holds."""

import re
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from fer_ray.data import store
from fer_ray.data.tables import read_table
from fer_ray.deep.weights import Origin
from fer_ray.errors import UserError

BOTTLENECK = "bottleneck"
DERIVED = ("trials", "predictions", "heads", "search")


def table_name(backbone: str, maps: bool = False, augmented: bool = False) -> str:
    """Name of a table below `bottleneck/`."""
    return f"{backbone}{'-maps' if maps else ''}{'-augmented' if augmented else ''}"


def record_file(out: Path, table: str) -> Path:
    """Where the record of a table lies."""
    return out / BOTTLENECK / f"{table}.json"


def read_records(out: Path) -> dict[str, dict[str, Any]]:
    """The records of all tables of bottleneck features, by the table's name."""
    files = sorted((out / BOTTLENECK).glob("*.json"))
    records = {file.stem: store.read_json(file) for file in files}
    return {name: record for name, record in records.items() if record is not None}


def trained_record(out: Path, backbone: str, augmented: bool = False) -> dict[str, Any]:
    """The record of a backbone's pooled features, fit to train and test on.

    Raises:
        UserError: They are not there, or come from weights that were never trained.
    """
    table = table_name(backbone, augmented=augmented)
    record = store.read_json(record_file(out, table))
    if record is None or not (out / BOTTLENECK / table).is_dir():
        draws = " --draws 10" if augmented else ""
        raise UserError(
            f"{out} holds no features of {table}. Compute them: "
            f"fer-ray bottleneck --out {out} --backbone {backbone}{draws}"
        )
    if record["weights"]["origin"] == Origin.UNTRAINED:
        raise UserError(
            f"The features of {table} come from weights that were never trained "
            f"({record['weights']['file']}): no accuracy on them means anything. Give the "
            "published weights, or trained ones of yours, and --fresh."
        )
    return record


def forget_experiments(out: Path, backbone: str) -> None:
    """Remove what was trained on a backbone's features, which are about to be replaced.

    An experiment's name holds its feature sets.
    """
    for file in (file for folder in DERIVED for file in (out / folder).glob("*")):
        if backbone in re.split(r"[-+=,.]", file.name):
            store.remove(file)


def read_features(out: Path, backbone: str, image_ids: list[str]) -> NDArray[np.float32]:
    """Pooled features (n, width) of images of a run folder.

    Raises:
        UserError: They are not there, or not to be trained on.
    """
    trained_record(out, backbone)
    return _in_order(_read(out, table_name(backbone)), image_ids)


def read_draws(out: Path, backbone: str, image_ids: list[str], draws: int) -> NDArray[np.float32]:
    """Pooled features (draws, n, width) of augmented draws; NaN of images that were not drawn.

    Raises:
        UserError: There are fewer draws, or not to be trained on.
    """
    record = trained_record(out, backbone, augmented=True)
    if record["draws"] < draws:
        raise UserError(
            f"{out} holds {record['draws']} draws of {backbone}, and {draws} are needed: "
            f"fer-ray bottleneck --out {out} --backbone {backbone} --draws {draws} --fresh"
        )
    table = _read(out, table_name(backbone, augmented=True))
    by_draw = [table.filter(pc.equal(table["draw"], number)) for number in range(draws)]
    return np.stack([_in_order(one, image_ids, lacking=True) for one in by_draw])


def _read(out: Path, table: str) -> pa.Table:
    return read_table(out / BOTTLENECK / table, columns=["image_id", "draw", "features"])


def _in_order(table: pa.Table, image_ids: list[str], lacking: bool = False) -> NDArray[np.float32]:
    """Features in the order of the images; where some may be `lacking`, these are NaN."""
    position = {name: at for at, name in enumerate(table["image_id"].to_pylist())}
    values = table["features"].combine_chunks().flatten().to_numpy().reshape(len(position), -1)
    if lacking:
        values = np.vstack([values, np.full(values.shape[1], np.nan, np.float32)])
        position = {name: position.get(name, -1) for name in image_ids}
    found: NDArray[np.float32] = values[[position[name] for name in image_ids]]
    return found
