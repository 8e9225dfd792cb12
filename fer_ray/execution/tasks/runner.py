"""Work items in parallel on Ray Tune; only this module and `tuning` use Tune.

Each Tune trial takes items from a shared queue until it is empty. With one trial per item, Tune
gives the process of a finished trial to the next one and stops the process that was starting for
it. Items shorter than the start of a process would then all run in the first process, while the
other CPUs are idle.
"""

import logging
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
from fer_ray.execution.cluster.node_versions import (
    Versions,
    own_versions,
    require_same_versions,
)
from fer_ray.execution.cluster.prometheus import TrialMetrics
from fer_ray.execution.cluster.resources import CPU, ResourceWait, cluster_total, cpu_share
from fer_ray.execution.cluster.shared_storage import not_shared_message
from fer_ray.execution.progress import Advance
from fer_ray.execution.tune_log import quiet_tune
from fer_ray.storage.paths import is_object

WORKERS_PER_CPU = 4  # so that CPUs that join during the run have workers to start
LEAST_WORKERS = 256  # the cluster may grow to any size
ROUNDS = 3  # attempts for items that are lost with their process
LOST_PROCESSES = 10  # lost processes that a worker survives

logger = logging.getLogger(__name__)


def run_items(
    work: Callable[[Any], None],
    items: list[Any],
    out: Path,
    workers: int | None,
    advance: Advance,
) -> None:
    """Call `work` once with each item, wherever a CPU is free. `work` stores its results itself.

    An item that is lost with its process or node is retried.

    Args:
        work: Called with an item, in a process that runs many. Sent to each node once.
        items: Picklable values.
        out: Run folder, the same path on every node.
        workers: Items at a time. None: as many as the cluster has CPUs, even as it grows.
        advance: Called with 1 for each finished item.

    Raises:
        RuntimeError: An item failed, or was lost repeatedly. Results of the others are stored.
        UserError: The cluster has had no CPUs for too long, or a node cannot access `out` or has
            other versions.
        KeyboardInterrupt: The job was interrupted. Results of finished items are stored.
    """
    quiet_tune()
    with TrialMetrics(len(items)) as metrics:
        _run_rounds(work, items, out, workers, advance, metrics)


def _run_rounds(
    work: Callable[[Any], None],
    items: list[Any],
    out: Path,
    workers: int | None,
    advance: Advance,
    metrics: TrialMetrics,
) -> None:
    remaining = list(enumerate(items))
    for _ in range(ROUNDS):
        problems = _run_round(work, remaining, out, workers, advance, metrics)
        if failed := [problem for problem in problems.values() if problem]:
            raise RuntimeError(f"{len(failed)} work items failed; the first:\n{failed[0]}")
        remaining = [(number, item) for number, item in remaining if number not in problems]
        if not remaining:
            return
        logger.warning("retrying %d work items that were lost with their process", len(remaining))
    raise RuntimeError(f"{len(remaining)} work items were lost with their processes {ROUNDS} times")


def _run_round(
    work: Callable[[Any], None],
    items: list[tuple[int, Any]],
    out: Path,
    workers: int | None,
    advance: Advance,
    metrics: TrialMetrics,
) -> dict[int, str | None]:
    """Run numbered items; return those that ended, by number, with a traceback or None."""
    driver = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)
    queue = Queue(actor_options={"num_cpus": 0, "scheduling_strategy": driver})
    queue.put_nowait_batch(items)
    outcomes = _Outcomes(len(items), advance, metrics)
    # Tune requires a folder, although nothing is stored in it. In a run folder on a disk, it also
    # shows whether a node can access the run folder.
    local = None if is_object(out) else out
    with tempfile.TemporaryDirectory(prefix=".tune-", dir=local) as scratch:
        marker = Path(scratch) if local else None
        tune.Tuner(
            tune.with_resources(
                tune.with_parameters(
                    _Worker, work=work, queue=queue, marker=marker, versions=own_versions()
                ),
                {"cpu": cpu_share()},
            ),
            tune_config=tune.TuneConfig(
                num_samples=_worker_count(len(items), workers),
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
    if outcomes.user_error:
        raise outcomes.user_error
    return outcomes.problems


def _worker_count(items: int, workers: int | None) -> int:
    most = max(LEAST_WORKERS, WORKERS_PER_CPU * int(cluster_total(CPU)))
    return min(items, workers or most)


class _Worker(tune.Trainable):  # type: ignore[misc]
    """Runs one item of the queue per step; its process is reused for the next Tune trial."""

    def setup(self, config: dict[str, Any], work: Callable[[Any], None], queue: Queue,
              marker: Path | None, versions: Versions) -> None:  # fmt: skip
        self._work = work
        self._versions = versions
        self._queue = queue
        self._marker = marker

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        return True

    def step(self) -> dict[str, Any]:
        try:
            number, item = self._queue.get_nowait()
        except Empty:
            return {"done": True}
        try:
            require_same_versions(self._versions)
            if self._marker and not self._marker.is_dir():  # of a node that joined later
                raise UserError(not_shared_message(self._marker.parent))
            self._work(item)
        except UserError as problem:
            return {"number": number, "problem": str(problem), "user_error": problem}
        except Exception:  # fails the job at its end; other items of this worker still run
            return {"number": number, "problem": traceback.format_exc()}
        return {"number": number, "problem": None}


class _Outcomes(tune.Callback, tune.Stopper):  # type: ignore[misc]
    """Collects the outcome of each item, and stops the workers when all items have one."""

    def __init__(self, items: int, advance: Advance, metrics: TrialMetrics) -> None:
        self.problems: dict[int, str | None] = {}
        self.user_error: UserError | None = None
        self._items = items
        self._advance = advance
        self._metrics = metrics
        self._wait = ResourceWait()

    def __getstate__(self) -> dict[str, Any]:
        """Return nothing: Tune pickles its callbacks, and a progress bar cannot be pickled."""
        return {}

    def on_step_begin(self, iteration: int, trials: Any, **_: Any) -> None:
        self._wait.check()

    def on_trial_result(
        self, iteration: int, trials: Any, trial: Any, result: Any, **_: Any
    ) -> None:
        if "number" in result and result["number"] not in self.problems:
            self.problems[result["number"]] = result["problem"]
            self.user_error = result.get("user_error") or self.user_error
            self._advance(1)
            self._metrics.ended(failed=result["problem"] is not None)

    def __call__(self, trial_id: str, result: dict[str, Any]) -> bool:
        return False

    def stop_all(self) -> bool:
        return len(self.problems) == self._items
