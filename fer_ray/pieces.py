"""Pieces of work on Ray, until none is missing."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from fer_ray.config import Execution
from fer_ray.progress import Progress
from fer_ray.runtime import ensure_ray, require_shared


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
        from fer_ray.learn.search import run_pieces

        with progress(name, unit, len(pieces)) as advance:
            run_pieces(work, pieces, out, execution.workers, advance)
    return workers
