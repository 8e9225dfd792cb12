"""Whether the same images give the same rows and figures, however the work is dealt out."""

import hashlib
import time
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa

from fer_ray.errors import UserError
from fer_ray.execution.progress import Progress, silent
from fer_ray.execution.session import ensure_ray, ray_closed_after
from fer_ray.pipelines.extract import Plan, plan
from fer_ray.pipelines.trials import run_trials
from fer_ray.settings.root import Execution, Settings
from fer_ray.storage.files import remove, write_json
from fer_ray.storage.locks import run_folder
from fer_ray.storage.parquet import read_table
from fer_ray.storage.run_folder import RunFolder
from fer_ray.storage.staging import StagedRows

MOST_WORKERS = 4
TIMES = {"seconds"}  # columns that may differ


@dataclass(frozen=True)
class Way:
    """One way to deal the work out."""

    workers: int
    block_images: int
    batch_images: int


# The first is what the others are held against. Odd sizes, so that blocks and batches end in the
# middle of each other.
FRAMES, TRIALS, PREDICTIONS = "frames", "trials", "predictions"
WAYS = (Way(1, 32, 8), Way(2, 5, 1), Way(3, 1000, 64), Way(MOST_WORKERS, 13, 4))


@dataclass(frozen=True)
class Outcome:
    """What came of one way.

    Attributes:
        way: How the work was dealt out.
        rows: Hex SHA-256 of all rows; the same on any machine where the bits are the same.
        figures: That of all predictions and figures of the trials; None where none can be made.
        differing: Columns that are not as in the first way.
        seconds: What it took.
    """

    way: Way
    rows: str
    figures: str | None
    differing: list[str]
    seconds: float


def verify(
    data: Path, out: Path, settings: Settings, most_workers: int, progress: Progress
) -> list[Outcome]:
    """Extract and run the trials in several ways, and compare each with the first, bit for bit.

    Args:
        data: The source.
        out: Where each way gets a run folder of its own.
        settings: What defines the results.
        most_workers: Ways with more are left out.
        progress: Shows how far it is.

    Raises:
        UserError: The source cannot be used.
    """
    ways = [way for way in WAYS if way.workers <= most_workers]
    first: dict[str, pa.Table] = {}
    outcomes = []
    with progress("verify", "ways", len(ways)) as advance:
        for number, way in enumerate(ways):
            started = time.monotonic()
            folder = out / f"{number}-workers{way.workers}-block{way.block_images}"
            tables = _tables(data, folder, settings, way)
            first = first or tables
            outcomes.append(
                Outcome(
                    way,
                    digest([tables[FRAMES]]),
                    digest([tables[TRIALS], tables[PREDICTIONS]]) if TRIALS in tables else None,
                    differing(first, tables),
                    time.monotonic() - started,
                )
            )
            advance(1)
    return outcomes


def differing(first: dict[str, pa.Table], second: dict[str, pa.Table]) -> list[str]:
    """Columns of these tables, as `table.column`, whose values or types are not the same."""
    found = [f"{name}: is there only once" for name in sorted(first.keys() ^ second.keys())]
    for name in sorted(first.keys() & second.keys()):
        one, other = first[name], second[name]
        columns = sorted({*one.column_names, *other.column_names})
        for column in columns:
            both = column in one.column_names and column in other.column_names
            if not both or digest([one.select([column])]) != digest([other.select([column])]):
                found.append(f"{name}.{column}")
    return found


def digest(tables: list[pa.Table]) -> str:
    """Hex SHA-256 of columns, types and values, to the last bit of each number."""
    found = hashlib.sha256()
    for table in tables:
        sink = pa.BufferOutputStream()
        whole = table.replace_schema_metadata(None).combine_chunks()
        with pa.ipc.new_stream(sink, whole.schema) as stream:
            stream.write_table(whole)
        found.update(sink.getvalue())
    return found.hexdigest()


def _tables(data: Path, folder: Path, settings: Settings, way: Way) -> dict[str, pa.Table]:
    """What one way leaves, by name; without trials where the images do not allow any."""
    execution = Execution(workers=way.workers)
    with run_folder(folder), ray_closed_after():
        planned = plan(data, folder, settings.extract, fresh=True)
        ensure_ray(execution)
        _extract(planned, folder, way)
        try:
            run_trials(folder, settings.trials, execution, silent)
        except UserError:
            return {FRAMES: _read(RunFolder(folder).frames)}
    return {name: _read(path) for name, path in _paths(folder).items()}


def _extract(planned: Plan, folder: Path, way: Way) -> None:
    from fer_ray.execution.chain import extract_blocks, schema, split_blocks

    for path in _paths(folder).values():
        remove(path)
    run = RunFolder(folder)
    staged = StagedRows(folder.resolve() / run.frames_partial.name / "verified")
    remove(staged.folder)
    staged.folder.mkdir(parents=True)
    blocks = split_blocks(planned.listing.table, staged, way.block_images)
    root = planned.listing.root.resolve()
    for _ in extract_blocks(blocks, root, planned.settings, staged, way.workers, way.batch_images):
        pass
    staged.assemble(run.frames, schema(planned.settings))
    staged.remove()
    record = {"fingerprint": planned.fingerprint, "source_digest": planned.source_digest}
    write_json(record, run.extract_record)


def _paths(folder: Path) -> dict[str, Path]:
    run = RunFolder(folder)
    return {FRAMES: run.frames, TRIALS: run.trials, PREDICTIONS: run.predictions}


def _read(folder: Path) -> pa.Table:
    table = read_table(folder)
    return table.drop_columns([name for name in table.column_names if name in TIMES])
