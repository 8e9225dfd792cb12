"""What commands set up around a job: a child process that starts early, and the export of crops."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from fer_ray.storage.run_folder import RunFolder

if TYPE_CHECKING:
    from fer_ray.settings.root import Settings


def start_child_ahead(record: Path) -> None:
    """Start the child process of a job that runs without Ray, while this process imports.

    Args:
        record: Exists if the job has finished before, so that it probably needs no child.
    """
    from fer_ray.execution.guard import start_ahead

    if not record.is_file() and not os.environ.get("RAY_ADDRESS"):
        start_ahead()


@contextmanager
def exporting_crops(
    target: Path | None, data: Path, out: Path, settings: "Settings"
) -> Iterator[None]:
    """Export the crops to `target`, if any, when the job has finished.

    Raises:
        UserError: Crops cannot be written to `target`. Raised before the job starts.
    """
    if target is None:
        yield
        return
    from fer_ray.pipelines.extraction.export_crops import export_crops, require_target
    from fer_ray.sources.datasets.listing import source_root
    from fer_ray.storage.foreign_files import require_outside_results
    from fer_ray.storage.paths import require_output_outside

    require_output_outside(target, data)
    require_outside_results(out, target)
    require_target(target)
    yield
    root, extract = source_root(data), settings.extract
    export_crops(RunFolder(out).frames, root, target, extract.decode, extract.crop.size_px)
