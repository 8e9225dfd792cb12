"""Work items in threads: all of them run, and an error stops those that have not started."""

import threading
import time

import numpy as np
import pytest
from threadpoolctl import threadpool_info

from fer_ray.errors import UserError
from fer_ray.execution.tasks.local_runner import run_items_locally, runs_locally
from fer_ray.settings.root import Execution


def test_each_item_runs_once_in_several_threads() -> None:
    done, threads, counted = list[int](), set[int](), list[int]()

    def work(item: int) -> None:
        time.sleep(0.02)
        threads.add(threading.get_ident())
        done.append(item)

    assert run_items_locally(work, list(range(12)), 2, counted.append) == 2
    assert sorted(done) == list(range(12))
    assert len(threads) == 2
    assert counted == [1] * 12


def test_blas_uses_one_thread() -> None:
    np.ones((2, 2)) @ np.ones((2, 2))
    threads: list[int] = []
    run_items_locally(
        lambda _: threads.extend(
            pool["num_threads"] for pool in threadpool_info() if pool["user_api"] == "blas"
        ),
        [0], 1, lambda _: None,
    )  # fmt: skip
    assert threads
    assert set(threads) == {1}


def test_error_stops_the_items_that_wait() -> None:
    done: list[int] = []

    def work(item: int) -> None:
        if item == 1:
            raise UserError("no such split")
        time.sleep(0.02)
        done.append(item)

    with pytest.raises(UserError, match="no such split"):
        run_items_locally(work, list(range(50)), 2, lambda _: None)
    assert 0 in done
    assert len(done) < 40


@pytest.mark.parametrize(
    ("execution", "items", "rows", "expected"),
    [
        (Execution(), 20, 439, True),
        (Execution(), 20, 2_000, False),
        (Execution(executor="ray"), 1, 1, False),
        (Execution(executor="in-process"), 1_000, 1_000, True),
    ],
)
def test_few_rows_run_locally(
    execution: Execution, items: int, rows: int, expected: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    assert runs_locally(execution, items, rows) is expected
