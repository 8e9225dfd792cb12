"""The task of one block: a guarded child process extracts its images, one file stores all rows.

A block is the unit of work, of retrying and of resuming. Its task sends the paths of the images to
the guarded child process of its worker, which reads them and runs all steps. Pixels never leave
that process, and a file that crashes a decoder loses only its own row.
"""

from collections import Counter
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from fer_ray.execution.guard import Fault, Guard, Steps
from fer_ray.execution.guarded_batches import process_guarded
from fer_ray.execution.tasks.task_runner import WORKER_DIED
from fer_ray.features.image_steps import ModelStep
from fer_ray.features.steps import IMAGE
from fer_ray.schemas import complete_columns, frames_schema
from fer_ray.settings.extraction import ExtractSettings
from fer_ray.settings.feature_sets import FEATURE_SETS
from fer_ray.sources.datasets.listing import SIZE
from fer_ray.sources.image_files import require_available
from fer_ray.storage.paths import is_object
from fer_ray.storage.staging import POSITION, StagedRows
from fer_ray.vocabulary import Stage, Status


@dataclass(frozen=True)
class ExtractBlock:
    """The task of one block: extracts its images and stores the rows.

    Attributes:
        extract: Extracts images, given as paths; runs in the guarded child process.
        root: Folder that the listed paths are relative to, the same on every node.
        staged: Where rows are stored.
        schema: Columns to store.
        predict: Appends predictions to extracted rows, in this process.
        constants: Values of columns that every row has, even a row without a result.
    """

    extract: Steps
    root: Path
    staged: StagedRows
    schema: pa.Schema
    predict: ModelStep | None = None
    constants: tuple[tuple[str, str], ...] = ()

    def rows(self, guard: Guard, block: pa.Table) -> pa.Table:
        """Extract the images of a block of `Listing.with_sizes`; each row has its `POSITION`.

        Returns:
            One or more rows per image, in the order of the block: all columns of `schema`, and the
            `POSITION` of the image.

        Raises:
            UserError: The child process cannot work, because a model is missing or memory is short.
        """
        schema = self.schema.append(block.schema.field(POSITION))
        paths = [self.root / path for path in block["path"].to_pylist()]
        processed = process_guarded(partial(self._extract, guard), paths)
        tables = [
            complete_columns(self._failed_row(block.slice(number, 1), fault), schema)
            for number, fault in processed.faults.items()
        ]
        if processed.tables:
            rows = pa.concat_tables(processed.tables)
            rows = _with_listing(rows, block)
            self._require_folders(rows)
            rows = rows if self.predict is None else self.predict(rows)
            tables.append(complete_columns(rows, schema))
        return pa.concat_tables(tables).sort_by(POSITION)  # a stable sort

    def write(self, rows: pa.Table) -> int:
        """Store the rows of a block, and return the number of its images."""
        positions = rows[POSITION].to_numpy()
        self.staged.write_at(rows.drop_columns([POSITION]), positions)
        return len(np.unique(positions))

    def statuses(self, rows: pa.Table) -> Counter[str]:
        """Count the images of a block by status, that of the first face if there are several."""
        _, first = np.unique(rows[POSITION].to_numpy(), return_index=True)
        return Counter(rows["status"].take(first).to_pylist())

    def crashed_rows(self, block: pa.Table) -> pa.Table:
        """Return the rows of images that no worker survives, like `rows`."""
        fault = Fault(Status.CRASHED, Stage.DECODE, WORKER_DIED)
        schema = self.schema.append(block.schema.field(POSITION))
        images = (block.slice(number, 1) for number in range(block.num_rows))
        rows = [complete_columns(self._failed_row(image, fault), schema) for image in images]
        return pa.concat_tables(rows)

    def _extract(self, guard: Guard, paths: list[Path]) -> pa.Table | Fault:
        answer = guard(paths)
        if _was_not_read(answer):
            require_available(self.root)
        return answer

    def _require_folders(self, rows: pa.Table) -> None:
        """Check the folders of images that could not be read, but existed when they were listed."""
        if not is_object(self.root):
            lost = pc.and_(_not_read(rows), pc.greater_equal(rows[SIZE], 0))
            paths = rows["path"].filter(lost).to_pylist()
            for folder in dict.fromkeys((self.root / path).parent for path in paths):
                require_available(folder)

    def _failed_row(self, image: pa.Table, fault: Fault) -> pa.Table:
        failure = {
            "face_index": 0,
            "status": fault.status.value,
            "stage": fault.stage or Stage.DECODE.value,
            "error": fault.error,
            **dict(self.constants),
        }
        for name, value in failure.items():
            image = image.append_column(name, pa.array([value]))
        return image


def _with_listing(rows: pa.Table, block: pa.Table) -> pa.Table:
    """Append the columns of each image's listing."""
    listed = block.take(rows[IMAGE].combine_chunks())
    for name in listed.column_names:
        rows = rows.append_column(listed.schema.field(name), listed[name])
    return rows.drop_columns([IMAGE])


def _was_not_read(answer: pa.Table | Fault) -> bool:
    """Whether the bytes of an image did not arrive, in time or at all."""
    if isinstance(answer, Fault):
        return answer.status == Status.TIMED_OUT and answer.stage == Stage.DECODE
    return bool(pc.any(_not_read(answer)).as_py())


def _not_read(rows: pa.Table) -> pa.ChunkedArray:
    unreadable = pc.equal(rows["status"], Status.UNREADABLE.value)
    return pc.and_(unreadable, pc.is_null(rows["sha256"]))


def extraction_schema(settings: ExtractSettings) -> pa.Schema:
    """Schema of the rows that `settings` define."""
    return frames_schema({name: FEATURE_SETS[name].width for name in settings.features.sets})
