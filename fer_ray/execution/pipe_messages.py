"""Messages through the pipes between a guard and its child process.

A message is a pickled object, preceded by its length in eight bytes.
"""

import os
import pickle
import select
import struct
import time
from collections.abc import Callable
from typing import Any

HEADER = struct.Struct(">Q")


def send(pipe: Any, message: Any) -> None:
    """Write a message.

    Raises:
        BrokenPipeError: The other process has ended.
    """
    data = pickle.dumps(message, protocol=5)
    pipe.write(HEADER.pack(len(data)) + data)
    pipe.flush()


def receive(pipe: Any, left: Callable[[], float] | None = None) -> Any:
    """The next message.

    Args:
        pipe: A pipe that is only read here.
        left: The seconds that are left to wait; None waits without limit.

    Raises:
        EOFError: The other process has ended.
        TimeoutError: No seconds are left.
    """
    size = HEADER.unpack(_read(pipe, HEADER.size, left))[0]
    return pickle.loads(_read(pipe, size, left))


def countdown(seconds: float) -> Callable[[], float]:
    """The seconds that are left, starting now."""
    deadline = time.monotonic() + seconds
    return lambda: deadline - time.monotonic()


def _read(pipe: Any, size: int, left: Callable[[], float] | None) -> bytes:
    parts: list[bytes] = []
    while size:
        if left and not select.select([pipe], [], [], max(0.0, left()))[0]:
            if left() <= 0:
                raise TimeoutError
            continue
        part = os.read(pipe.fileno(), min(size, 1 << 20))
        if not part:
            raise EOFError
        parts.append(part)
        size -= len(part)
    return b"".join(parts)
