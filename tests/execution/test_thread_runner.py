"""Work items in threads."""

import threading
from itertools import count

import pytest

from fer_ray.execution.tasks.thread_runner import run_in_threads

WAIT_S = 30


def test_items_run_at_the_same_time() -> None:
    both = threading.Barrier(2)

    def work(item: int) -> int:
        both.wait(WAIT_S)
        return item * item

    started = []
    results = run_in_threads(work, iter(range(8)), 2, started=lambda: started.append(True))
    assert sorted(results) == [item * item for item in range(8)]
    assert started == [True]


def test_problem_is_raised_and_ends_the_threads() -> None:
    taken = []

    def work(item: int) -> int:
        taken.append(item)
        if item == 1:
            raise ValueError("not this one")
        return item

    with pytest.raises(ValueError, match="not this one"):
        list(run_in_threads(work, count(1), 1))
    assert taken == [1]


def test_stop_awaits_running_items() -> None:
    stop, committed = threading.Event(), threading.Event()

    def work(item: int) -> int:
        stop.set()
        assert committed.wait(WAIT_S)  # while this item is running
        return item

    results = run_in_threads(work, count(), 2, stop.is_set, committed.set)
    assert len(list(results)) in (1, 2)
