"""`fer-ray verify-determinism`: the same rows and figures, however the work is divided."""

import hashlib
import logging
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import pyarrow as pa

from fer_ray.errors import UserError
from fer_ray.execution.cluster.session import ray_closed_after
from fer_ray.execution.progress import Progress, silent
from fer_ray.pipelines.extraction.extract import extract
from fer_ray.pipelines.extraction.extraction_plan import ExtractionPlan, plan_extraction
from fer_ray.pipelines.training.trials import run_trials
from fer_ray.settings.root import Execution, Settings
from fer_ray.storage.files import remove
from fer_ray.storage.locks import lock_folder
from fer_ray.storage.parquet import read_table
from fer_ray.storage.run_folder import RunFolder

FRAMES, TRIALS, PREDICTIONS = "frames", "trials", "predictions"
TIME_COLUMNS = {"seconds"}  # the only columns that may differ
MAX_WORKERS = 4

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class WorkDivision:
    """How the work is divided among workers.

    Attributes:
        workers: Number of workers.
        block_images: Images per task.
        executor: What runs the tasks.
    """

    workers: int
    block_images: int
    executor: Literal["in-process", "ray"]


# The others are compared with the first one.
DIVISIONS = (
    WorkDivision(1, 32, "ray"),
    WorkDivision(2, 5, "in-process"),
    WorkDivision(3, 1000, "ray"),
    WorkDivision(MAX_WORKERS, 13, "ray"),
)


@dataclass(frozen=True)
class Outcome:
    """Results with one division of the work.

    Attributes:
        division: The division.
        rows: Hex SHA-256 of all rows, equal on all machines that compute the same bits.
        figures: Hex SHA-256 of the trials and their predictions. None: no trials are possible.
        differing: Columns that differ from the first division.
        seconds: Duration.
    """

    division: WorkDivision
    rows: str
    figures: str | None
    differing: list[str]
    seconds: float


def verify(
    data: Path, out: Path, settings: Settings, max_workers: int, progress: Progress
) -> list[Outcome]:
    """Extract and run the trials with several divisions of the work, and compare them bit for bit.

    Args:
        data: Source of the images.
        out: Parent of one run folder per division.
        settings: Settings that define the results.
        max_workers: Divisions with more workers are skipped.
        progress: Displays the progress.

    Raises:
        UserError: The source cannot be used.
    """
    divisions = [division for division in DIVISIONS if division.workers <= max_workers]
    first: dict[str, pa.Table] = {}
    outcomes = []
    with progress("verify", "divisions", len(divisions)) as advance:
        for number, division in enumerate(divisions):
            started = time.monotonic()
            folder = out / f"{number}-workers{division.workers}-block{division.block_images}"
            tables = _compute_tables(data, folder, settings, division)
            first = first or tables
            outcomes.append(
                Outcome(
                    division,
                    digest([tables[FRAMES]]),
                    digest([tables[TRIALS], tables[PREDICTIONS]]) if TRIALS in tables else None,
                    differing_columns(first, tables),
                    time.monotonic() - started,
                )
            )
            advance(1)
    return outcomes


def differing_columns(first: dict[str, pa.Table], second: dict[str, pa.Table]) -> list[str]:
    """Columns of these tables, as `table.column`, whose values or types differ."""
    differing = [f"{name}: in only one of them" for name in sorted(first.keys() ^ second.keys())]
    for name in sorted(first.keys() & second.keys()):
        left, right = first[name], second[name]
        for column in sorted({*left.column_names, *right.column_names}):
            in_both = column in left.column_names and column in right.column_names
            if not in_both or digest([left.select([column])]) != digest([right.select([column])]):
                differing.append(f"{name}.{column}")
    return differing


def digest(tables: list[pa.Table]) -> str:
    """Hex SHA-256 of columns, types and values, exact in every bit."""
    sha256 = hashlib.sha256()
    for table in tables:
        sink = pa.BufferOutputStream()
        contiguous = table.replace_schema_metadata(None).combine_chunks()
        with pa.ipc.new_stream(sink, contiguous.schema) as stream:
            stream.write_table(contiguous)
        sha256.update(sink.getvalue())
    return sha256.hexdigest()


def _compute_tables(
    data: Path, folder: Path, settings: Settings, division: WorkDivision
) -> dict[str, pa.Table]:
    """The tables of a run by name; only the frames if the images do not allow trials."""
    execution = Execution(
        workers=division.workers,
        block_images=division.block_images,
        executor=division.executor,
    )
    with lock_folder(folder), ray_closed_after():
        plan = plan_extraction(data, folder, settings.extract, fresh=True)
        _extract(plan, folder, execution)
        try:
            run_trials(folder, settings.trials, execution, silent)
        except UserError as problem:
            logger.warning("The trials are not compared: %s", problem)
            return {FRAMES: _read(RunFolder(folder).frames)}
    return {name: _read(path) for name, path in _paths(folder).items()}


def _extract(plan: ExtractionPlan, folder: Path, execution: Execution) -> None:
    remove(RunFolder(folder).frames_partial)
    extract(plan, folder, execution, lambda _: None)


def _paths(folder: Path) -> dict[str, Path]:
    run = RunFolder(folder)
    return {FRAMES: run.frames, TRIALS: run.trials, PREDICTIONS: run.predictions}


def _read(folder: Path) -> pa.Table:
    table = read_table(folder)
    return table.drop_columns([name for name in table.column_names if name in TIME_COLUMNS])
