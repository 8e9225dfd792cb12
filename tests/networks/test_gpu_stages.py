"""Stages of work on a GPU that exists for Ray's placement only."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

PROGRAM = """
import sys, time
from pathlib import Path
import ray
from fer_ray.settings.root import Execution
from fer_ray.networks.bottleneck.bottleneck_plan import plan_bottleneck
from fer_ray.pipelines.extraction.bottleneck import run_bottleneck
from fer_ray.storage.run_folder import frames_record
from fer_ray.execution.progress import silent
out, root, cpus = sys.argv[1:]
ray.init(address="local", num_cpus=int(cpus), num_gpus=1, include_dashboard=False)
plan = plan_bottleneck(frames_record(Path(out)), "dlib_resnet", None)
execution = Execution(block_images=1, gpus_per_worker=1)
run_bottleneck(Path(out), Path(root), plan, execution, silent)
time.sleep(2)  # Ray sends events once per second
ray.timeline(f"{out}/timeline.json")
"""

# Ray's names of the two kinds of tasks.
TASKS = ("task::MapBatches(crop_ahead)", "task::MapWorker(MapBatches(_NetworkWorker)).submit")
Span = tuple[float, float]


@pytest.mark.slow
@pytest.mark.thorough
@pytest.mark.parametrize("cpus", [1, 2])
def test_cropping_overlaps_with_the_network(frames: Path, corpus: Path, cpus: int) -> None:
    command = [sys.executable, "-c", PROGRAM, frames, corpus, cpus]
    done = subprocess.run(
        [*map(str, command)], capture_output=True, text=True, timeout=240, check=False
    )
    assert done.returncode == 0, done.stderr
    cutting, networks = spans(frames / "timeline.json")
    assert len(cutting) == len(networks) > 6  # a block each
    overlapping = [
        one for one in cutting if any(one[0] < end and start < one[1] for start, end in networks)
    ]
    assert overlapping


def spans(timeline: Path) -> tuple[list[Span], list[Span]]:
    """Start and end of each cropping task and of each call of the network, in microseconds."""
    events = json.loads(timeline.read_text())
    cutting, networks = (
        [(event["ts"], event["ts"] + event["dur"]) for event in events if event.get("cat") == task]
        for task in TASKS
    )
    return cutting, networks


@pytest.mark.thorough
@pytest.mark.skipif(shutil.which("nvidia-smi") is not None, reason="there is a GPU")
def test_gpu_that_the_backend_does_not_see() -> None:
    program = "from fer_ray.networks.keras_backend import load_keras; load_keras(gpu_share=1)"
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=120, check=False
    )
    assert "Ray assigned a GPU to this worker, but tensorflow sees none" in done.stderr
