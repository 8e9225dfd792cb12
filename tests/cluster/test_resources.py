"""Scheduling: nodes with few free resources, no nodes yet, and nodes started on demand."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from tests.cluster.head import REPO, Completed, Head, written_blocks
from tests.patience import patience, wait_until

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1200)]

SHARE = """
import ray
ray.init()

@ray.remote(num_cpus=0.5, scheduling_strategy="SPREAD")
class Half:
    def node(self):
        return ray.get_runtime_context().get_node_id()

halves = [Half.remote() for _ in range(2)]
assert len(set(ray.get([half.node.remote() for half in halves]))) == 2
from fer_ray.execution.cluster.resources import cpu_share
print(cpu_share())
"""
# A job waits for CPUs for half an hour; shorten that for the test.
IMPATIENT = """
import sys
from fer_ray.execution.cluster import resources
resources.WAIT_S = 5.0
from fer_ray.cli.main import main
main(sys.argv[1:])
"""


def start(head: Head, program: str, *arguments: object) -> "subprocess.Popen[str]":
    command = [sys.executable, "-c", program, *map(str, arguments)]
    return subprocess.Popen(
        command, env=head.env(RAY_ADDRESS=head.address), cwd=REPO,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip


def run(head: Head, program: str, *arguments: object) -> Completed:
    process = start(head, program, *arguments)
    streams = process.communicate(timeout=patience(300))
    return Completed(process.args, process.returncode, *streams)


@pytest.mark.thorough
def test_task_requests_no_more_than_a_node_has_free(empty_head: Head) -> None:
    empty_head.add_nodes(1, 1)
    done = run(empty_head, SHARE)
    assert done.stdout.split() == ["0.5"], done.stderr


@pytest.mark.thorough
def test_job_exits_without_cpus(empty_head: Head, tiny_corpus: Path, tmp_path: Path) -> None:
    done = run(empty_head, IMPATIENT, "extract", "--data", tiny_corpus, "--out", tmp_path)
    assert done.returncode == 2, done.stderr
    assert "waiting for CPUs" in done.stderr
    assert "The cluster has had no CPUs" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.thorough
def test_finished_blocks_survive_the_only_node(
    empty_head: Head, tiny_corpus: Path, tiny_frames: Path, tmp_path: Path
) -> None:
    empty_head.add_nodes(1)
    node = empty_head.nodes[-1]
    job = ("extract", "--data", tiny_corpus, "--out", tmp_path, "--frames", "all")
    driver = start(empty_head, IMPATIENT, *job, "--set", "execution.block_images=4")
    wait_until(lambda: written_blocks(tmp_path) >= 2)
    node.kill()
    _, said = driver.communicate(timeout=patience(300))
    assert driver.returncode == 2, said
    assert "rerun the same command to resume" in said
    assert "Traceback" not in said
    assert written_blocks(tmp_path) >= 2
    empty_head.add_node(cpus=1)
    resumed = empty_head.drive(*job)
    said, _ = resumed.communicate(timeout=patience(300))
    assert resumed.returncode == 0, said
    assert pq.read_table(tmp_path / "frames").equals(pq.read_table(tiny_frames))


NODE = {"node_config": {}, "min_workers": 0, "max_workers": 1}
GROUPS = {
    "cpu": {**NODE, "resources": {"CPU": 1}},
    "gpu": {**NODE, "resources": {"CPU": 0, "GPU": 1}},  # by name only
}


@pytest.fixture
def growing_head() -> Iterator[Head]:
    head = Head(cpus=0, groups=GROUPS)
    yield head
    head.close()


@pytest.mark.thorough
def test_only_gpu_work_starts_gpu_nodes(
    growing_head: Head, tiny_corpus: Path, tiny_frames: Path, tmp_path: Path
) -> None:
    extract = growing_head.drive(
        "extract", "--data", tiny_corpus, "--out", tmp_path, "--frames", "all"
    )
    said, _ = extract.communicate(timeout=patience(300))
    assert extract.returncode == 0, said
    assert pq.read_table(tmp_path / "frames").equals(pq.read_table(tiny_frames))
    assert growing_head.nodes_alive() == 2
    network = growing_head.drive(
        "bottleneck", "--out", tmp_path, "--backbone", "dlib_resnet", "--gpus-per-worker", 1
    )
    said, _ = network.communicate(timeout=patience(300))
    assert network.returncode == 0, said
    assert "waiting for GPUs" in said
    assert growing_head.nodes_alive() == 3
