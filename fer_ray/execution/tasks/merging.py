"""Writing the files of a finished table in tasks on Ray, so that rows never enter the driver."""

import sys

from fer_ray.execution.tasks.task_runner import never_split, raise_lost
from fer_ray.execution.tasks.thread_runner import do_nothing
from fer_ray.storage.staging import Merge


def merge_on_ray(merges: list[Merge]) -> None:
    """Write the files of a finished table, one task for each, or in this process without Ray.

    Raises:
        UserError: The storage fails, or the workers of a task keep dying.
    """
    ray = sys.modules.get("ray")
    if ray is None or not ray.is_initialized():
        for merge in merges:
            merge.write()
        return
    from fer_ray.execution.tasks.block_tasks import run_tasks

    written = run_tasks(
        Merge.write, iter(merges), None, lambda: False, never_split, raise_lost, do_nothing
    )
    for _ in written:
        continue
