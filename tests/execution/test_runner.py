"""Pieces of work on Ray Tune, with workers that die and work that fails."""

import os
import signal
import time
from pathlib import Path

import pytest

from fer_ray.errors import UserError
from fer_ray.execution.runner import run_pieces

PIECES = list(range(12))


class Work:
    """Notes which process did which piece; may kill its process, or fail."""

    def __init__(
        self, out: Path, kill_at: int | None = None, fail_at: int | None = None,
        hide_at: int | None = None,
    ) -> None:  # fmt: skip
        self.out, self.kill_at, self.fail_at, self.hide_at = out, kill_at, fail_at, hide_at

    def __call__(self, piece: int) -> None:
        if piece == self.kill_at and not (self.out / "killed").exists():
            (self.out / "killed").touch()
            os.kill(os.getpid(), signal.SIGKILL)
        if piece == self.hide_at:  # as for a node that does not see the folder
            [marker] = self.out.glob(".tune-*")
            marker.rename(self.out / "hidden")
        if piece == self.fail_at:
            raise ValueError("no such split")
        time.sleep(0.3)
        with (self.out / f"{piece}.done").open("a") as file:
            file.write(f"{os.getpid()}\n")

    def done(self) -> dict[int, list[str]]:
        return {
            piece: (self.out / f"{piece}.done").read_text().split()
            for piece in PIECES
            if (self.out / f"{piece}.done").exists()
        }


@pytest.mark.slow
def test_short_pieces_are_done_once_each_and_by_every_worker(
    local_ray: int, tmp_path: Path
) -> None:
    work, counted = Work(tmp_path), []
    run_pieces(work, PIECES, tmp_path, None, counted.append)
    done = work.done()
    assert [len(pids) for pids in done.values()] == [1] * len(PIECES)
    assert len({pids[0] for pids in done.values()}) == local_ray
    assert counted == [1] * len(PIECES)
    assert not list(tmp_path.glob(".tune-*"))


@pytest.mark.slow
def test_a_piece_that_is_lost_with_its_process_is_done_again(
    local_ray: int, tmp_path: Path
) -> None:
    work, counted = Work(tmp_path, kill_at=3), []
    run_pieces(work, PIECES, tmp_path, None, counted.append)
    assert (tmp_path / "killed").exists()
    assert [len(pids) for pids in work.done().values()] == [1] * len(PIECES)
    assert counted == [1] * len(PIECES)


@pytest.mark.slow
def test_work_that_fails_is_told_and_the_other_pieces_are_done(
    local_ray: int, tmp_path: Path
) -> None:
    work = Work(tmp_path, fail_at=5)
    with pytest.raises(RuntimeError, match=r"1 pieces of work failed(.|\n)*no such split"):
        run_pieces(work, PIECES, tmp_path, None, lambda _: None)
    assert sorted(work.done()) == [piece for piece in PIECES if piece != 5]


@pytest.mark.slow
def test_a_worker_that_does_not_see_the_run_folder_writes_nothing_and_is_told(
    local_ray: int, tmp_path: Path
) -> None:
    work = Work(tmp_path, hide_at=3)
    with pytest.raises(UserError, match="is not there on every node of the cluster"):
        run_pieces(work, PIECES, tmp_path, 1, lambda _: None)
    assert max(work.done()) == 3
