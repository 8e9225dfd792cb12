"""CPU time of a task per image: of the worker, and of the child process that it guards.

    python -m benchmarks.task_cost --data FOLDER --landmark-file FILE --images 96

Images are sampled evenly from the sorted folder. The models are loaded before; the shortest of
three passes counts. CPU time depends little on other load, except that processes share caches.
"""

import pickle
import time
from pathlib import Path

import psutil
import pyarrow as pa

from benchmarks.photographs import describe_load, mesh_settings, parse_options, sample_files
from benchmarks.report import Table, write_result
from fer_ray.execution.extract_block import ExtractBlock, extraction_schema
from fer_ray.execution.guard import Guard
from fer_ray.execution.guarded_batches import BATCH_IMAGES
from fer_ray.features.image_steps import ImageSteps
from fer_ray.settings.extraction import ExtractSettings
from fer_ray.settings.loading import load_settings
from fer_ray.storage.staging import POSITION, StagedRows

PASSES = 3


def main() -> None:
    """Measure each profile and write the table."""
    options = parse_options(__doc__, images=96)
    files = sample_files(options.data, options.images)
    profiles = {"fast": load_settings(None, ("profile=fast",)).extract}
    profiles["mesh"] = mesh_settings(options.landmark_file)
    table = Table("profile", "worker, ms per image", "child process, ms per image", "sum, ms")
    for name, settings in profiles.items():
        worker, child = min(measure(settings, options.data, files), key=sum)
        table.add(name, f"{worker:.1f}", f"{child:.1f}", f"**{worker + child:.1f}**")
    protocol = (
        f"{len(files)} images, sampled evenly from {options.data.name}: CPU time of one worker and "
        f"its child process, from path to rows; the shortest of {PASSES} passes. {describe_load()}."
    )
    write_result(f"task-cost-{options.data.name}", protocol, table)


def measure(settings: ExtractSettings, root: Path, files: list[Path]) -> list[tuple[float, float]]:
    """Milliseconds of CPU time per image, of the worker and the child process, in each pass."""
    positions = pa.array(range(len(files)), pa.int64())
    block = pa.table({"path": [str(file) for file in files], POSITION: positions})
    task = ExtractBlock(ImageSteps(settings), root, StagedRows(Path()), extraction_schema(settings))
    guard, others = Guard(pickle.dumps(task.extract), 60), psutil.Process().children()
    task.rows(guard, block.slice(0, BATCH_IMAGES))
    [child] = [process for process in psutil.Process().children() if process not in others]
    passes = []
    for _ in range(PASSES):
        before = time.process_time(), sum(child.cpu_times()[:2])
        task.rows(guard, block)
        after = time.process_time(), sum(child.cpu_times()[:2])
        worker, guarded = (
            1000 * (end - start) / len(files) for start, end in zip(before, after, strict=True)
        )
        passes.append((worker, guarded))
    guard.close()
    return passes


if __name__ == "__main__":
    main()
