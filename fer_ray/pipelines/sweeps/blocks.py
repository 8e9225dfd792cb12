"""The work of one task on a block of images: read them, and process new contents under a guard."""

import hashlib
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, field
from typing import NamedTuple

import pyarrow as pa

from fer_ray.errors import error_text
from fer_ray.execution.guard import Guard, borrow_guard
from fer_ray.execution.guarded_batches import process_guarded
from fer_ray.execution.tasks.claims import Claim
from fer_ray.execution.tasks.task_runner import WORKER_DIED
from fer_ray.features.steps import IMAGE
from fer_ray.pipelines.sweeps.block_files import BlockResult, BlockWriter, Output, Row
from fer_ray.pipelines.sweeps.sweep_steps import failed_rows
from fer_ray.sources.streams.image_source import Source
from fer_ray.sources.streams.timed_reader import ImageReader, ReadTimeoutError
from fer_ray.vocabulary import Stage, Status

MAX_READ_BYTES = 1 << 26  # contents of images that are in memory at a time, and one more image


@dataclass(frozen=True)
class Block:
    """Images of a to-do file, which lists paths and, where they are known, contents.

    Attributes:
        file: Name of the file in the scratch folder.
        start: The first row.
        count: Number of rows.
    """

    file: str
    start: int
    count: int

    def split(self) -> "list[Block]":
        """One block per image."""
        return [Block(self.file, self.start + row, 1) for row in range(self.count)]


class Limits(NamedTuple):
    """Limits per image.

    Attributes:
        max_bytes: Larger files are not read.
        image_seconds: Time limit for reading an image, and for processing it.
        reported: Number of results of a block whose status and error are reported.
    """

    max_bytes: int
    image_seconds: float
    reported: int = 0


@dataclass(frozen=True)
class ProcessBlock:
    """The task: reads each image of a block, and processes each content that is new or retried.

    Attributes:
        source: The source of the images.
        steps: The pickled function for `Guard`.
        limits: Limits per image.
        claim: Decides whether this block processes a content.
        output: Where the rows go.
    """

    source: Source
    steps: bytes
    limits: Limits
    claim: Claim
    output: Output

    def __call__(self, block: Block) -> BlockResult:
        """Process a block.

        Raises:
            UserError: A model, the source or the store is missing.
        """
        rows, limits = self._rows(block), self.limits
        writer, processed = BlockWriter(self.output, limits.reported), set[str]()
        with (
            borrow_guard(self.steps, limits.image_seconds) as guard,
            closing(ImageReader(self.source, limits.max_bytes, limits.image_seconds)) as read,
        ):
            for images in _read_images(read, rows, limits):
                retried = {image.sha256 for image in images if image.retried}
                wanted = sorted({image.sha256 for image in images if image.sha256} - retried)
                claimed = self.claim(f"{block.file}:{block.start}", wanted) if wanted else set()
                for image in images:
                    writer.add_reading(image.row, image.sha256 or None, image.failure)
                for contents, again in ((claimed, False), (retried, True)):
                    for found in _process(guard, images, contents - processed):
                        writer.add_rows(found, again)
                processed |= claimed | retried
        return writer.finish(len(rows))

    def give_up(self, block: Block) -> BlockResult:
        """The result of a block that no worker survives: its images or contents are `crashed`."""
        writer = BlockWriter(self.output, self.limits.reported)
        rows = self._rows(block)
        for row in rows:
            if row["sha256"]:
                failed = failed_rows([row["sha256"]], Status.CRASHED, Stage.DECODE, WORKER_DIED)
                writer.add_rows(failed, row["retried"])
            else:
                writer.add_reading(row, None, _failure(Status.CRASHED, WORKER_DIED))
        return writer.finish(len(rows))

    def _rows(self, block: Block) -> list[Row]:
        table = self.output.scratch.read_rows(block.file, block.start, block.count)
        rows: list[Row] = table.to_pylist()
        return rows


@dataclass(frozen=True)
class _Image:
    """An image that was read.

    Attributes:
        row: Its row of the to-do file.
        sha256: Of its content; "" if it could not be read.
        content: Its bytes.
        failure: Why it could not be read: status, stage and error.
    """

    row: Row
    sha256: str
    content: bytes
    failure: Row = field(default_factory=dict)

    @property
    def retried(self) -> bool:
        """Whether it has a content whose failed results are to be replaced."""
        return bool(self.row["retried"]) and self.sha256 == self.row["sha256"]


def _read_images(read: ImageReader, rows: list[Row], limits: Limits) -> Iterator[list[_Image]]:
    """Read images, in lists whose contents have little more than `MAX_READ_BYTES`."""
    images: list[_Image] = []
    size = 0
    for row in rows:
        images.append(_read_image(read, row, limits))
        size += len(images[-1].content)
        if size > MAX_READ_BYTES:
            yield images
            images, size = [], 0
    yield images


def _read_image(read: ImageReader, row: Row, limits: Limits) -> _Image:
    try:
        content = read(row["path"])
    except ReadTimeoutError:
        reason = f"could not be read within {limits.image_seconds:g} s"
        return _Image(row, "", b"", _failure(Status.TIMED_OUT, reason))
    except OSError as problem:
        failure = _failure(Status.UNREADABLE, error_text(problem))
        missing = isinstance(problem, FileNotFoundError)
        return _Image(row, "", b"", {**failure, "missing": missing})
    if len(content) > limits.max_bytes:
        reason = f"larger than {limits.max_bytes} bytes (decode.max_bytes)"
        return _Image(row, "", b"", _failure(Status.TOO_LARGE, reason))
    return _Image(row, hashlib.sha256(content).hexdigest(), content)


def _failure(status: Status, error: str) -> Row:
    return {"status": status.value, "stage": Stage.DECODE.value, "error": error}


def _process(guard: Guard, images: list[_Image], contents: set[str]) -> Iterator[pa.Table]:
    """Process those of the contents that the images have."""
    by_content = {image.sha256: image.content for image in images if image.sha256 in contents}
    processed = process_guarded(guard, list(by_content.values()))
    yield from (rows.drop_columns([IMAGE]) for rows in processed.tables)
    for number, fault in processed.faults.items():
        yield failed_rows([[*by_content][number]], fault.status, fault.stage, fault.error)
