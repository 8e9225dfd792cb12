"""What tasks on Ray Data return: how many rows they stored, or a user-facing error."""

from collections.abc import Iterator
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from fer_ray import errors
from fer_ray.errors import UserError

STUCK = (
    "No block has finished for {:g} minutes. Run `ray status` on the head node of the cluster to "
    "see what it waits for. Finished work is stored: rerun the same command to resume."
)


def task_result(rows: int, error: UserError | None = None) -> pa.Table:
    """The result of a task: the number of rows that it stored, and a user-facing error or None.

    Errors are returned as values, because Ray reduces a raised one to a traceback.
    """
    kind, text = (None, None) if error is None else (type(error).__name__, str(error))
    columns = {"kind": pa.array([kind], pa.string()), "error": pa.array([text], pa.string())}
    return pa.table({"rows": [rows], **columns})


def count_written(results: Any) -> Iterator[int]:
    """The numbers of rows in task results, as these arrive.

    Args:
        results: A `ray.data.Dataset` of `task_result`.

    Raises:
        UserError: A task returned an error, or none has finished for `WAIT_S`.
    """
    from ray.data.exceptions import ExecutionTimeoutError

    from fer_ray.execution.cluster.resources import WAIT_S, ResourceWait

    try:
        with ResourceWait().warnings():
            for batch in results.iter_batches(batch_size=None, batch_format="pyarrow"):
                for failed in batch.filter(pc.is_valid(batch["kind"])).to_pylist():
                    raise getattr(errors, failed["kind"])(failed["error"])
                yield sum(batch["rows"].to_pylist())
    except ExecutionTimeoutError:
        raise UserError(STUCK.format(WAIT_S / 60)) from None
