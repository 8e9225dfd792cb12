"""The log of Ray Tune, without what fer_ray reports itself."""

import logging

from ray.exceptions import RayActorError


def quiet_tune() -> None:
    """Let Tune log errors only, and no traceback of a lost process, whose work is repeated."""
    logging.getLogger("ray.tune").setLevel(logging.ERROR)
    logging.getLogger("ray.tune.execution.tune_controller").addFilter(_is_no_lost_process)


def _is_no_lost_process(record: logging.LogRecord) -> bool:
    problem = record.exc_info[1] if record.exc_info else None
    return not isinstance(problem, RayActorError) or "creation task" in str(problem)
