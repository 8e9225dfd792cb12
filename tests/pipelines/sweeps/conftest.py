"""A source of a few real images, and sweeps of it."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pyarrow as pa
import pytest
from deltalake import DeltaTable

from fer_ray.execution.progress import silent
from fer_ray.pipelines.sweep import run_sweep
from fer_ray.pipelines.sweeps.context import SweepRequest
from fer_ray.settings.extraction import ExtractSettings
from fer_ray.settings.root import Execution, Settings
from fer_ray.settings.sweeping import SweepSettings
from fer_ray.storage.delta_store import Store
from fer_ray.storage.snapshot import Snapshot
from fer_ray.storage.table_folder import unique_name

FAST = ExtractSettings.model_validate(
    Settings.model_validate({"profile": "fast"}).extract.model_dump()
)
IN_PROCESS, ON_RAY = Execution(executor="in-process"), Execution(executor="ray")
BOOKKEEPING = ["sweep", "listed_ns", "mtime_ns"]

Swept = Callable[..., dict[str, Any]]


def tiny_image(file: Path, seed: int, side: int = 24) -> None:
    """Write an image of noise, which has no face and is processed quickly."""
    file.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 256, (side, side), np.uint8)
    assert cv2.imwrite(str(file), pixels)


def rows(store: Path, table: str, version: int | None = None) -> list[dict[str, Any]]:
    """All rows of a table, without the columns of bookkeeping, in a fixed order."""
    data: pa.Table = DeltaTable(str(store / table), version=version).to_pyarrow_table()
    dropped = [name for name in BOOKKEEPING if name in data.column_names]
    keys = ("path", "sha256", "face_index")
    records = data.drop_columns(dropped).to_pylist()
    return sorted(records, key=lambda row: [str(row.get(key)) for key in keys])


def append(base: Snapshot, store: Store, rows: pa.Table) -> None:
    """Commit rows on top of a version, in a file as a task would write it."""
    keys = ("path", "listed_ns")
    file = store.folder(base.name).write(rows, unique_name("rows"), keys)
    store.commit(base, [file], rows.schema, {})


@pytest.fixture
def faces(tiny_corpus: Path) -> list[Path]:
    """Four synthetic faces."""
    return sorted(tiny_corpus.rglob("*.png"))[::10][:4]


@pytest.fixture
def source(tmp_path: Path, faces: list[Path]) -> Path:
    """Four faces in two folders, one of them twice; noise; and a file that is not an image."""
    root = tmp_path / "source"
    for number, file in enumerate(faces):
        target = root / f"day{number % 2}" / f"face{number}.png"
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(file, target)
    shutil.copy(faces[0], root / "day1" / "twin.png")
    tiny_image(root / "noise.png", seed=1)
    (root / "broken.jpg").write_bytes(b"\xff\xd8\xff no image")
    (root / "notes.txt").write_text("not an image")
    return root


@pytest.fixture
def store(tmp_path: Path) -> Path:
    return tmp_path / "store"


@pytest.fixture
def swept(source: Path, store: Path) -> Swept:
    """Sweeps `source` into `store` under the fast profile; takes settings of `sweep`."""

    def sweep(
        steps: Any = None,
        extract: ExtractSettings = FAST,
        execution: Execution = IN_PROCESS,
        **policy: Any,
    ) -> Any:
        sweep = SweepSettings(**policy)
        settings = Settings(extract=extract, sweep=sweep, execution=execution)
        return run_sweep(SweepRequest(str(source), str(store), settings, silent, steps=steps))

    return sweep
