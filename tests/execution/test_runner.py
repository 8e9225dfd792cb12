"""Work items on Ray Tune, with dying workers and failing items."""

import os
import signal
import time
from pathlib import Path

import pytest

from fer_ray.errors import UserError
from fer_ray.execution.tasks.runner import run_items

ITEMS = list(range(12))


class Work:
    """Records which process ran which item; may kill its process, or fail."""

    def __init__(
        self, out: Path, kill_at: int | None = None, fail_at: int | None = None,
        hide_at: int | None = None,
    ) -> None:  # fmt: skip
        self.out, self.kill_at, self.fail_at, self.hide_at = out, kill_at, fail_at, hide_at

    def __call__(self, item: int) -> None:
        if item == self.kill_at and not (self.out / "killed").exists():
            (self.out / "killed").touch()
            os.kill(os.getpid(), signal.SIGKILL)
        if item == self.hide_at:  # as on a node without access to the folder
            [marker] = self.out.glob(".tune-*")
            marker.rename(self.out / "hidden")
        if item == self.fail_at:
            raise ValueError("no such split")
        time.sleep(0.3)
        with (self.out / f"{item}.done").open("a") as file:
            file.write(f"{os.getpid()}\n")

    def done(self) -> dict[int, list[str]]:
        return {
            item: (self.out / f"{item}.done").read_text().split()
            for item in ITEMS
            if (self.out / f"{item}.done").exists()
        }


@pytest.mark.thorough
@pytest.mark.slow
def test_short_items_run_once_and_on_every_worker(local_ray: int, tmp_path: Path) -> None:
    work, counted = Work(tmp_path), list[int]()
    run_items(work, ITEMS, tmp_path, None, counted.append)
    done = work.done()
    assert [len(pids) for pids in done.values()] == [1] * len(ITEMS)
    assert len({pids[0] for pids in done.values()}) == local_ray
    assert counted == [1] * len(ITEMS)
    assert not list(tmp_path.glob(".tune-*"))


@pytest.mark.slow
def test_item_lost_with_its_process_is_retried(local_ray: int, tmp_path: Path) -> None:
    work, counted = Work(tmp_path, kill_at=3), list[int]()
    run_items(work, ITEMS, tmp_path, None, counted.append)
    assert (tmp_path / "killed").exists()
    assert not list(tmp_path.glob(".tune-*"))
    assert [len(pids) for pids in work.done().values()] == [1] * len(ITEMS)
    assert counted == [1] * len(ITEMS)


@pytest.mark.slow
def test_failed_item_raises_after_the_others(local_ray: int, tmp_path: Path) -> None:
    work = Work(tmp_path, fail_at=5)
    with pytest.raises(RuntimeError, match=r"1 work items failed(.|\n)*no such split"):
        run_items(work, ITEMS, tmp_path, None, lambda _: None)
    assert sorted(work.done()) == [item for item in ITEMS if item != 5]


@pytest.mark.slow
def test_worker_without_access_to_the_run_folder_raises(local_ray: int, tmp_path: Path) -> None:
    work = Work(tmp_path, hide_at=3)
    with pytest.raises(UserError, match="is missing or differs on a node of the cluster"):
        run_items(work, ITEMS, tmp_path, 1, lambda _: None)
    assert max(work.done()) == 3
