"""The number of OpenCV threads of a process: `fer_ray` computes its results with one."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager

import cv2

_lock = threading.Lock()
_open: list[int] = []  # the process's own number of threads, once per open block


@contextmanager
def one_opencv_thread() -> Iterator[None]:
    """Limit OpenCV to one thread inside the block, and restore the setting of the process after it.

    For processes of the user. fer_ray's own have one thread from their start, because a worker has
    one CPU.
    """
    with _lock:
        _open.append(_open[0] if _open else cv2.getNumThreads())
        cv2.setNumThreads(1)
    try:
        yield
    finally:
        with _lock:
            threads = _open.pop()
            if not _open:
                cv2.setNumThreads(threads)
