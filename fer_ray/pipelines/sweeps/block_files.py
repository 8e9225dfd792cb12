"""The files that the task of a block writes: results, readings, and what is neither."""

from collections import Counter
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from fer_ray.evaluation.answers import count_answers
from fer_ray.pipelines.extraction.face_advice import count_small_squares
from fer_ray.pipelines.extraction.range_advice import count_ranges
from fer_ray.pipelines.sweeps.publishing.fuse import FAULTS
from fer_ray.pipelines.sweeps.sweep_steps import complete_rows
from fer_ray.storage.table_folder import NewFile, TableFolder, unique_name
from fer_ray.store_schemas import READINGS_SCHEMA

MAX_MISSING = 3  # paths of images that do not exist, per block
RESULT_KEYS = ("sha256", "recipe", "face_index", "status", "sweep")  # with statistics
READING_KEYS = ("path", "sha256")
# Images that could not be read, or whose content is no longer the planned one.
OUTCOME_SCHEMA = pa.schema(
    [pa.field(name, pa.string())
     for name in ("path", "sha256", "planned", "status", "stage", "error")]
)  # fmt: skip

Row = dict[str, Any]


@dataclass(frozen=True)
class Output:
    """Where a task writes its rows, and what they have in common.

    Attributes:
        results: Folder of the table `results`.
        readings: Folder of the table `readings`.
        scratch: Scratch folder of the sweep, with its to-do files.
        schema: Schema of `results`.
        recipe: Fingerprint of the store recipe.
        sweep: Name of the sweep.
    """

    results: TableFolder
    readings: TableFolder
    scratch: TableFolder
    schema: pa.Schema
    recipe: str
    sweep: str


@dataclass(frozen=True)
class BlockResult:
    """What a task has done. Its rows are in files.

    Attributes:
        images: Number of images of the block.
        read: How many of them had an unknown content.
        results: Rows of `results` for new contents.
        replacements: Scratch file with rows that replace failed results.
        readings: Rows of `readings`.
        outcomes: Scratch file with images that could not be read or have changed.
        statuses: Number of processed contents by status.
        classes: Number of processed contents by predicted class.
        answers: `answers.count_answers` of the processed contents.
        small_squares: Number of processed contents that are small squares without a face.
        ranges: Number of processed contents with an unusual range of values, by mode.
        first: Status and error of the first results, except those that failed again.
        missing: Paths of some images that do not exist.
    """

    images: int
    read: int
    results: NewFile | None
    replacements: NewFile | None
    readings: NewFile | None
    outcomes: NewFile | None
    statuses: Counter[str]
    classes: Counter[str]
    answers: Counter[str]
    small_squares: int
    ranges: Counter[str]
    first: list[tuple[str, str | None]]
    missing: list[str]


class BlockWriter:
    """Collects the rows of a block, and writes them to files.

    Args:
        output: Where to write them.
        reported: Number of results whose status and error are reported.
    """

    def __init__(self, output: Output, reported: int) -> None:
        self._output, self._reported = output, reported
        self._new: list[pa.Table] = []
        self._replacing: list[pa.Table] = []
        self._readings: list[Row] = []
        self._outcomes: list[Row] = []
        self._read = 0

    def add_reading(self, row: Row, sha256: str | None, failure: Row) -> None:
        """Add what an image contains, if that was unknown or has changed.

        Args:
            row: Its row of the to-do file.
            sha256: Of its content; None if it could not be read.
            failure: Status, stage and error if it could not be read.
        """
        self._read += row["sha256"] is None
        if row["sha256"] is None and sha256:
            self._readings.append({**row, "sha256": sha256})
        elif sha256 != row["sha256"] or not sha256:
            outcome = {"path": row["path"], "sha256": sha256, "planned": row["sha256"]}
            self._outcomes.append({**outcome, **failure})

    def add_rows(self, rows: pa.Table, retried: bool) -> None:
        """Add the rows of one content."""
        (self._replacing if retried else self._new).append(rows)

    def finish(self, images: int) -> BlockResult:
        """Write all files."""
        output = self._output
        new, replacing = self._complete(self._new), self._complete(self._replacing)
        contents = pa.concat_tables([new, replacing])
        contents = contents.filter(pc.equal(contents["face_index"], 0))
        named = "predicted" in contents.schema.names
        predicted = contents["predicted"].drop_null().to_pylist() if named else []
        readings = pa.Table.from_pylist(self._readings, schema=READINGS_SCHEMA)
        outcomes = pa.Table.from_pylist(self._outcomes, schema=OUTCOME_SCHEMA)
        return BlockResult(
            images=images,
            read=self._read,
            results=_write(output.results, new, "results", RESULT_KEYS),
            replacements=_write(output.scratch, replacing, "replacements"),
            readings=_write(output.readings, readings, "readings", READING_KEYS),
            outcomes=_write(output.scratch, outcomes, "outcomes"),
            statuses=Counter(contents["status"].to_pylist()),
            classes=Counter(predicted),
            answers=count_answers(contents) if named else Counter(),
            small_squares=count_small_squares(contents),
            ranges=count_ranges(contents["mode"].to_pylist()),
            first=self._first(new, replacing),
            missing=[row["path"] for row in self._outcomes if row.get("missing")][:MAX_MISSING],
        )

    def _complete(self, rows: list[pa.Table]) -> pa.Table:
        output = self._output
        if not rows:
            return output.schema.empty_table()
        table = pa.concat_tables(rows, promote_options="default")
        return complete_rows(table, output.schema, output.recipe, output.sweep)

    def _first(self, new: pa.Table, replacing: pa.Table) -> list[tuple[str, str | None]]:
        """Status and error of the first rows; contents that fail again are not evidence."""
        again = pc.is_in(replacing["status"], pa.array([str(status) for status in FAULTS]))
        rows = pa.concat_tables([new, replacing.filter(pc.invert(again))]).slice(0, self._reported)
        return list(zip(rows["status"].to_pylist(), rows["error"].to_pylist(), strict=True))


def _write(
    folder: TableFolder, rows: pa.Table, kind: str, keys: tuple[str, ...] = ()
) -> NewFile | None:
    return folder.write(rows, unique_name(kind), keys) if rows.num_rows else None
