"""Runs work items in threads of this process, which wait for their child processes."""

import queue
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

POLL_S = 0.2  # after which a stop is noticed


def do_nothing() -> None:
    """The default of `stopping` and `started`."""


def run_in_threads(
    work: Callable[[Any], Any],
    items: Iterator[Any],
    threads: int,
    stopped: Callable[[], bool] = lambda: False,
    stopping: Callable[[], None] = do_nothing,
    started: Callable[[], None] = do_nothing,
) -> Iterator[Any]:
    """Run `work` on each item and yield its results, in any order.

    If the caller ends early, threads finish their item and take no other.

    Args:
        work: Called with an item.
        items: The items; taken by one thread at a time.
        threads: Number of threads.
        stopped: Whether no further item should be taken.
        stopping: Called once, while the last items are running.
        started: Called once, after the threads have started.

    Raises:
        Exception: Raised by `work`.
    """
    lock, ended = threading.Lock(), threading.Event()
    results: queue.SimpleQueue[tuple[str, Any]] = queue.SimpleQueue()

    def serve() -> None:
        try:
            while not (ended.is_set() or stopped()):
                with lock:
                    item = next(items, None)
                if item is None:
                    break
                results.put(("result", work(item)))
            results.put(("end", None))
        except BaseException as problem:
            results.put(("problem", problem))

    try:
        for _ in range(threads):
            threading.Thread(target=serve, daemon=True).start()
        started()
        yield from _results(results, threads, stopped, stopping)
    finally:
        ended.set()


@contextmanager
def run_meanwhile(work: Callable[[Any], Any], items: Iterator[Any]) -> Iterator[list[Any]]:
    """Run `work` on items in a thread while the body of the `with` statement runs.

    At least one item is processed.

    Args:
        work: Called with an item.
        items: The items. Those not yet processed stay in the iterator.

    Yields:
        The results; complete once the `with` statement ends.

    Raises:
        Exception: Whatever `work` raised.
    """
    results, over, problems = list[Any](), threading.Event(), list[Exception]()

    def serve() -> None:
        try:
            for item in items:
                results.append(work(item))
                if over.is_set():
                    return
        except Exception as problem:
            problems.append(problem)

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    try:
        yield results
        over.set()
        thread.join()
        for problem in problems:
            raise problem
    finally:
        over.set()


def _results(
    results: "queue.SimpleQueue[tuple[str, Any]]",
    threads: int,
    stopped: Callable[[], bool],
    stopping: Callable[[], None],
) -> Iterator[Any]:
    """Yield results until all threads have ended, and raise the first problem."""
    announced = False
    while threads:
        try:
            kind, value = results.get(timeout=POLL_S)
        except queue.Empty:
            kind, value = "none", None
        if kind == "problem":
            raise value
        if kind == "result":
            yield value
        threads -= kind == "end"
        if stopped() and not announced:
            announced = True
            stopping()
