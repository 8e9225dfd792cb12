"""Standard streams that never end a job: they may be closed, broken, full or limited to ASCII."""

import errno
import io
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, TextIO

import click

from fer_ray.vocabulary import ExitCode

STANDARD_DESCRIPTORS = 3


class OutputFile(io.FileIO):
    """A file descriptor that discards what can no longer be written.

    Attributes:
        problem: The first error; None if everything was written.
    """

    def __init__(self, descriptor: int) -> None:
        super().__init__(descriptor, "w", closefd=False)
        self.problem: OSError | None = None

    def write(self, data: Any, /) -> int:
        """Write bytes and return their number; after an error, count them without writing."""
        if self.problem is None:
            try:
                return super().write(data)
            except OSError as problem:
                self.problem = problem
        return memoryview(data).nbytes


def _open_missing_streams() -> None:
    """Open the null device for each closed standard stream.

    Otherwise, the next file that is opened gets the number of the stream, and messages of native
    libraries are written into it.
    """
    while (descriptor := os.open(os.devnull, os.O_RDWR)) < STANDARD_DESCRIPTORS:
        os.set_inheritable(descriptor, True)
    os.close(descriptor)


@contextmanager
def tolerant_streams() -> Iterator[None]:
    """Print inside the block through streams that discard what they cannot write or encode.

    Closed streams are opened on the null device, also after the block. Streams that a program has
    replaced are not changed.

    Raises:
        SystemExit: At the end of the block, if output is lost for another reason than a reader
            that has ended, such as a full disk.
    """
    _open_missing_streams()
    out, err = sys.stdout, sys.stderr
    output = OutputFile(1)
    if out is sys.__stdout__:
        sys.stdout = _text_stream(output, out)
    if err is sys.__stderr__:
        sys.stderr = _text_stream(OutputFile(2), err)
    try:
        yield
    finally:
        for stream in (sys.stdout, sys.stderr):
            stream.flush()
        sys.stdout, sys.stderr = out, err
    if output.problem is not None and output.problem.errno != errno.EPIPE:
        click.echo(
            f"fer-ray: Cannot write to standard output: {output.problem.strerror}. Finished work "
            "is stored: rerun the same command to print its results again.",
            err=True,
        )
        sys.exit(ExitCode.FAILED)


def _text_stream(file: OutputFile, stream: TextIO | None) -> TextIO:
    """A text stream on `file`, with the encoding of `stream`; None: it was closed."""
    return io.TextIOWrapper(
        io.BufferedWriter(file),
        encoding=stream.encoding if stream else "utf-8",
        errors="backslashreplace",
        line_buffering=file.fileno() == 2 or file.isatty(),
    )
