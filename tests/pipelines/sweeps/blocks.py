"""Single blocks of a sweep, processed in this process, and the rows in their files."""

import pickle
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
from pyarrow.fs import LocalFileSystem

from fer_ray.execution.tasks.claims import Claim
from fer_ray.pipelines.sweeps.block_files import BlockResult, Output
from fer_ray.pipelines.sweeps.blocks import Block, Limits, ProcessBlock
from fer_ray.pipelines.sweeps.sweep_steps import schema_of
from fer_ray.sources.streams.image_source import Source
from fer_ray.storage.table_folder import NewFile, TableFolder
from tests.pipelines.sweeps.conftest import FAST

Rows = list[dict[str, Any]]


@dataclass(frozen=True)
class Processed:
    """The result of a block, and the rows of its files."""

    result: BlockResult
    results: Rows
    replacements: Rows
    readings: Rows
    outcomes: Rows


def process_block(
    source: Source,
    out: Path,
    paths: list[str],
    contents: list[str | None] | None = None,
    retried: bool = False,
    claim: Claim = lambda owner, contents: set(),
    steps: Any = None,
    max_bytes: int = 10**6,
    give_up: bool = False,
) -> Processed:
    """Process a block of images, whose contents may be known."""
    folders = {name: folder(out / name) for name in ("results", "readings", "scratch")}
    columns = {
        "path": paths, "size": [1] * len(paths), "mtime_ns": [2] * len(paths),
        "sha256": pa.array(contents or [None] * len(paths), pa.string()),
        "retried": [retried] * len(paths),
    }  # fmt: skip
    todo = folders["scratch"].write(pa.table(columns), "todo.parquet")
    output = Output(**folders, schema=schema_of(FAST), recipe="recipe", sweep="sweep")
    limits = Limits(max_bytes, 5, reported=20)
    task = ProcessBlock(source, pickle.dumps(steps), limits, claim, output)
    block = Block(todo.name, 0, len(paths))
    result = task.give_up(block) if give_up else task(block)
    return Processed(
        result,
        read(folders["results"], result.results),
        read(folders["scratch"], result.replacements),
        read(folders["readings"], result.readings),
        read(folders["scratch"], result.outcomes),
    )


def folder(path: Path) -> TableFolder:
    return TableFolder(str(path), LocalFileSystem(), str(path))


def read(where: TableFolder, file: NewFile | None) -> Rows:
    rows = [
        row for batch in where.batches([file.name] if file else []) for row in batch.to_pylist()
    ]
    assert len(rows) == (file.rows if file else 0)
    return rows
