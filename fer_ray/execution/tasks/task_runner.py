"""Runs the work items of a job: in this process, or as Ray tasks once Ray has been started."""

from collections.abc import Callable, Iterator
from typing import Any

from fer_ray.errors import UserError
from fer_ray.execution.tasks.thread_runner import do_nothing, run_in_threads
from fer_ray.settings.root import Execution
from fer_ray.storage.environment import available_cpus

WORKER_DIED = "its worker died repeatedly"


def never_split(item: Any) -> list[Any]:
    """The default of `split`: items cannot be divided."""
    return [item]


def raise_lost(item: Any) -> Any:
    """The default of `lost`: ends the job.

    Raises:
        UserError: Always.
    """
    raise UserError(
        f"A task failed: {WORKER_DIED}. If the machine is short of memory, reduce --workers. Then "
        "rerun the command."
    )


class TaskRunner:
    """Runs work items in this process until `start` is called, and then on Ray.

    Args:
        execution: Settings of the job.
        stopped: Whether the job should stop.

    Attributes:
        in_process: Whether items run in this process.
        workers: Number of items that run at a time.
    """

    def __init__(self, execution: Execution, stopped: Callable[[], bool]) -> None:
        self.in_process, self.workers = True, execution.workers or available_cpus()
        self._execution, self._stopped = execution, stopped

    def start(self) -> None:
        """Start Ray, or join the cluster at RAY_ADDRESS.

        Raises:
            UserError: Ray cannot be started, or the cluster cannot be joined.
        """
        from fer_ray.execution.cluster.session import available_workers, start_ray

        start_ray(self._execution)
        self.workers, self.in_process = available_workers(self._execution), False

    def run(
        self,
        work: Callable[[Any], Any],
        items: Iterator[Any],
        split: Callable[[Any], list[Any]] = never_split,
        lost: Callable[[Any], Any] = raise_lost,
        stopping: Callable[[], None] = do_nothing,
        threads: bool = False,
    ) -> Iterator[Any]:
        """Run `work` on each item and yield its results, in any order.

        The arguments are those of `run_tasks`, except for `threads`: whether several items run at
        a time in this process, since they wait for child processes.

        Raises:
            UserError: Workers of an item keep dying, or the cluster has had no CPUs for too long.
            Exception: Raised by `work`.
        """
        if self.in_process:
            count = self.workers if threads else 1
            yield from run_in_threads(work, items, count, self._stopped, stopping)
            return
        from fer_ray.execution.tasks.block_tasks import run_tasks

        limit = self._execution.workers
        yield from run_tasks(work, items, limit, self._stopped, split, lost, stopping)
