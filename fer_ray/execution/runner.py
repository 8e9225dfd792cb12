"""Pieces of work in parallel on Ray Tune: with `race` the only code that knows Tune.

Tune's trials are lanes here: each takes piece after piece from a common queue until it is empty.
With one trial a piece, Tune gives the process of a trial that has ended to the next one, and stops
the process that was being started for that; pieces that take less than a process's start then all
end up in the first process, and the other processors stand idle.
"""

import logging
import os
import tempfile
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import ray
from ray import tune
from ray.util.queue import Empty, Queue
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from fer_ray.errors import UserError
from fer_ray.execution.progress import Advance, Progress
from fer_ray.execution.resources import CPU, Patience, processor_share, there
from fer_ray.execution.session import ensure_ray, not_shared, require_shared
from fer_ray.settings.root import Execution

LANES_PER_PROCESSOR = 4  # so that processors that join meanwhile have lanes to run
LEAST_LANES = 256  # nothing says how far the cluster may grow
ROUNDS = 3  # a piece that was lost with its process is done again
LOST_PROCESSES = 10  # that a lane outlives

logger = logging.getLogger(__name__)


class _Lane(tune.Trainable):  # type: ignore[misc]
    """Does a piece a step; its process is used again for the next lane."""

    def setup(self, config: dict[str, Any], work: Callable[[Any], None], queue: Queue,
              marker: Path) -> None:  # fmt: skip
        self._work = work
        self._queue = queue
        self._marker = marker

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        return True

    def step(self) -> dict[str, Any]:
        try:
            number, piece = self._queue.get_nowait()
        except Empty:
            return {"done": True}
        if not self._marker.is_dir():  # a node that joined and does not see the run folder
            return {"number": number, "problem": not_shared(self._marker.parent), "mistake": True}
        try:
            self._work(piece)
        except Exception:  # it is told, and ends the job; the lane's other pieces go on
            return {"number": number, "problem": traceback.format_exc()}
        return {"number": number, "problem": None}


class _Outcomes(tune.Callback, tune.Stopper):  # type: ignore[misc]
    """What has become of each piece; ends the lanes when all have been done."""

    def __init__(self, pieces: int, advance: Advance) -> None:
        self.problems: dict[int, str | None] = {}
        self.mistake: str | None = None
        self._pieces = pieces
        self._advance = advance
        self._patience = Patience()

    def __getstate__(self) -> dict[str, Any]:
        """Nothing: Tune keeps a copy of its settings on disk, and a progress bar has no copy."""
        return {}

    def on_step_begin(self, iteration: int, trials: Any, **_: Any) -> None:
        self._patience.check()

    def on_trial_result(
        self, iteration: int, trials: Any, trial: Any, result: Any, **_: Any
    ) -> None:
        if "number" in result and result["number"] not in self.problems:
            self.problems[result["number"]] = result["problem"]
            if result.get("mistake"):
                self.mistake = result["problem"]
            self._advance(1)

    def __call__(self, trial_id: str, result: dict[str, Any]) -> bool:
        return False

    def stop_all(self) -> bool:
        return len(self.problems) == self._pieces


def run_pieces(
    work: Callable[[Any], None],
    pieces: list[Any],
    out: Path,
    workers: int | None,
    advance: Advance,
) -> None:
    """Do each piece once, wherever there is a processor; what comes of it is kept by `work` itself.

    A piece that is lost with its process or node is done again.

    Args:
        work: Called with a piece, in a process that does many. It is sent to each node once.
        pieces: Plain values.
        out: Run folder, the same on every node.
        workers: Pieces at a time. None: as many as there are processors for, also as they grow.
        advance: Told 1 each time that a piece is done.

    Raises:
        RuntimeError: A piece failed, or was lost time and again; what the others kept stays.
        UserError: The cluster has had no processors for too long, or a node does not see `out`.
        KeyboardInterrupt: The job was interrupted; what was finished stays.
    """
    logging.getLogger("ray.tune").setLevel(logging.ERROR)
    os.environ["TUNE_DISABLE_SIGINT_HANDLER"] = "1"  # it would take an interrupt for an end
    left = list(enumerate(pieces))
    for _ in range(ROUNDS):
        problems = _run_round(work, left, out, workers, advance)
        if failed := [problem for problem in problems.values() if problem]:
            raise RuntimeError(f"{len(failed)} pieces of work failed; the first:\n{failed[0]}")
        left = [(number, piece) for number, piece in left if number not in problems]
        if not left:
            return
        logger.warning("%d pieces of work were lost with their process: once more", len(left))
    raise RuntimeError(f"{len(left)} pieces of work were lost with their processes {ROUNDS} times")


def _run_round(
    work: Callable[[Any], None],
    pieces: list[tuple[int, Any]],
    out: Path,
    workers: int | None,
    advance: Advance,
) -> dict[int, str | None]:
    """The numbers of the pieces that were done, each with what went wrong, if anything."""
    here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)
    queue = Queue(actor_options={"num_cpus": 0, "scheduling_strategy": here})
    queue.put_nowait_batch(pieces)
    outcomes = _Outcomes(len(pieces), advance)
    # Tune wants a folder that all nodes see, though nothing is kept there.
    with tempfile.TemporaryDirectory(prefix=".tune-", dir=out.resolve()) as scratch:
        tune.Tuner(
            tune.with_resources(
                tune.with_parameters(_Lane, work=work, queue=queue, marker=Path(scratch)),
                {"cpu": processor_share()},
            ),
            tune_config=tune.TuneConfig(
                num_samples=_lanes(len(pieces), workers),
                reuse_actors=True,
                max_concurrent_trials=workers,
            ),
            run_config=tune.RunConfig(
                storage_path=scratch,
                verbose=0,
                stop=outcomes,
                callbacks=[outcomes],
                checkpoint_config=tune.CheckpointConfig(checkpoint_at_end=False),
                failure_config=tune.FailureConfig(max_failures=LOST_PROCESSES),
            ),
        ).fit()
    queue.shutdown(force=True)
    if outcomes.mistake:
        raise UserError(outcomes.mistake)
    return outcomes.problems


def _lanes(pieces: int, workers: int | None) -> int:
    return min(pieces, workers or max(LEAST_LANES, LANES_PER_PROCESSOR * int(there(CPU))))


def run_work(
    work: Any,
    missing: Callable[[], list[Any]],
    out: Path,
    execution: Execution,
    progress: Progress,
    name: str,
    unit: str,
) -> int:
    """Do the pieces of work that are missing, on Ray.

    Once more, should the storage show one node's last piece too late, or have lost it.

    Returns:
        The number of workers, 0 where nothing is left to do.
    """
    workers = 0
    for _ in range(2):
        if not (pieces := missing()):
            break
        workers = ensure_ray(execution)
        require_shared(out)
        from fer_ray.execution.runner import run_pieces

        with progress(name, unit, len(pieces)) as advance:
            run_pieces(work, pieces, out, execution.workers, advance)
    return workers
