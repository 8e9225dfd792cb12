"""Writing the files of a finished table in tasks on Ray, so that rows never enter the driver."""

import pickle
import sys

import pyarrow as pa

from fer_ray.errors import UserError
from fer_ray.execution.task_results import count_written, task_result
from fer_ray.storage.staging import Merge


def merge_on_ray(merges: list[Merge]) -> None:
    """Write the files of a finished table, one task for each, or in this process without Ray.

    Raises:
        UserError: The storage fails.
    """
    ray = sys.modules.get("ray")
    if ray is None or not ray.is_initialized():
        for merge in merges:
            merge.write()
        return
    from ray.data import TaskPoolStrategy

    from fer_ray.execution.resources import cpu_share

    blocks = [pa.table({"merge": [pickle.dumps(merge)]}) for merge in merges]
    results = ray.data.from_blocks(blocks).map_batches(
        _merge_on_node,
        batch_size=1,
        batch_format="pyarrow",
        compute=TaskPoolStrategy(),
        num_cpus=cpu_share(),
    )
    list(count_written(results))


def _merge_on_node(block: pa.Table) -> pa.Table:
    merge: Merge = pickle.loads(block["merge"][0].as_py())
    try:
        merge.write()
        return task_result(0)
    except UserError as problem:
        return task_result(0, problem)
