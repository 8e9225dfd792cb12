"""Clusters whose nodes join, leave and mount different disks while a job runs."""

import json
import re
import shutil
import subprocess
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from fer_ray.vocabulary import ExitCode
from tests.cluster.head import Head, committed, written_blocks
from tests.conftest import FerRay
from tests.evaluation.conftest import draw_frames
from tests.networks.conftest import RandomWeights, first_frames
from tests.patience import patience, wait_until
from tests.pipelines.sweeps.conftest import rows

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1200)]

SMALL_BLOCKS = ("--set", "execution.block_images=4")
# A node on which a folder is empty or has another image.
HIDE = 'mount -t tmpfs none "$0" && exec "$@"'
OTHER = 'mount -t tmpfs none "$0" && touch "$0/other.png" && exec "$@"'
JOBS = {"extract": ("--data", "--out"), "sweep": ("--source", "--store")}


@pytest.mark.thorough
def test_job_uses_joining_nodes_and_survives_a_lost_one(
    empty_head: Head, tiny_corpus: Path, tiny_frames: Path, tmp_path: Path
) -> None:
    driver = empty_head.drive(
        "extract", "--data", tiny_corpus, "--out", tmp_path, "--frames", "all", *SMALL_BLOCKS
    )
    first = empty_head.add_node(cpus=1)
    wait_until(lambda: written_blocks(tmp_path) >= 2)
    first.kill()
    assert driver.poll() is None
    empty_head.add_node(cpus=1)
    said, _ = driver.communicate(timeout=patience(300))
    assert driver.returncode == 0, said
    assert pq.read_table(tmp_path / "frames").equals(pq.read_table(tiny_frames))


@pytest.mark.thorough
def test_sweep_uses_joining_nodes_and_survives_a_lost_one(
    empty_head: Head, tiny_corpus: Path, tmp_path: Path, fer_ray: FerRay
) -> None:
    disturbed, alone = tmp_path / "disturbed", tmp_path / "alone"
    job = ("sweep", "--source", tiny_corpus, "--profile", "fast", "--store")
    driver = empty_head.drive(*job, disturbed, *SMALL_BLOCKS, "--set", "sweep.commit_rows=2")
    first = empty_head.add_node(cpus=1)
    wait_until(lambda: committed(disturbed) >= 3)
    first.kill()
    assert driver.poll() is None
    empty_head.add_node(cpus=1)
    said, _ = driver.communicate(timeout=patience(300))
    assert driver.returncode == 0, said
    assert fer_ray(*job, alone).returncode == 0
    for table in ("images", "results"):
        assert rows(disturbed, table) == rows(alone, table)


def grows(head: Head, actors: str, *command: object) -> None:
    """Run a command on one node, add another, and check that its actors use both."""

    def used() -> int:
        working = [one for one in head.alive("actors") if actors in one["class_name"]]
        return len({one["node_id"] for one in working})

    head.add_nodes(1)
    driver = head.drive(*command)
    wait_until(lambda: used() == 1)
    head.add_node(cpus=1)
    wait_until(lambda: used() == 2)
    said, _ = driver.communicate(timeout=patience(300))
    assert driver.returncode == 0, said


@pytest.mark.thorough
def test_search_uses_a_joining_node(empty_head: Head, tmp_path: Path) -> None:
    frames = draw_frames(tmp_path / "run")
    options = ("--feature-sets", "geometry", "--classifiers", "boosting", "--configurations", 50)
    grows(empty_head, "Trainable", "search", "--out", frames, *options)


@pytest.mark.thorough
def test_node_without_the_run_folder_ends_a_search(empty_head: Head, tmp_path: Path) -> None:
    frames = draw_frames(tmp_path / "run")
    options = ("--feature-sets", "geometry", "--classifiers", "boosting", "--configurations", 50)
    empty_head.add_nodes(1)
    driver = empty_head.drive("search", "--out", frames, *options)
    wait_until(lambda: any("Trainable" in one["class_name"] for one in empty_head.alive("actors")))
    empty_head.add_node(1, apart(HIDE, frames))
    said, _ = driver.communicate(timeout=patience(300))
    assert driver.returncode == 2, said
    assert f"{frames} is missing or differs on a node of the cluster" in said
    assert "Traceback" not in said


@pytest.mark.thorough
def test_bottleneck_uses_a_joining_node(
    empty_head: Head, run_dir: Path, random_weights: RandomWeights, tmp_path: Path
) -> None:
    out, weights = first_frames(run_dir, tmp_path / "run", 80), random_weights("vgg16")
    options = ("--backbone", "vgg16", "--weights", weights, "--set", "execution.block_images=4")
    grows(empty_head, "_NetworkWorker", "bottleneck", "--out", out, *options)


@pytest.mark.thorough
def test_workers_use_the_backend_of_the_driver(
    empty_head: Head, run_dir: Path, trained_mobilenet: Path, tmp_path: Path
) -> None:
    out = first_frames(run_dir, tmp_path / "run", 8)
    empty_head.add_node(1, wrap=("env", "KERAS_BACKEND=nonsense"))
    options = ("--backbone", "mobilenet", "--weights", trained_mobilenet)
    driver = empty_head.drive("bottleneck", "--out", out, *options, KERAS_BACKEND="tensorflow")
    said, _ = driver.communicate(timeout=patience(300))
    assert driver.returncode == 0, said


@pytest.mark.thorough
def test_sweep_that_waits_for_a_node_can_be_terminated(
    empty_head: Head, tiny_corpus: Path, tmp_path: Path
) -> None:
    driver = empty_head.drive("sweep", "--source", tiny_corpus, "--store", tmp_path / "store")
    assert driver.stdout is not None
    assert any("waiting for CPUs" in line for line in driver.stdout)
    driver.terminate()
    said, _ = driver.communicate(timeout=patience(120))
    assert driver.returncode == ExitCode.TERMINATED, said
    assert list((tmp_path / "store" / "sweeps").glob("*.json"))


@pytest.mark.thorough
def test_plan_counts_the_cpus_of_the_cluster(
    empty_head: Head, tiny_corpus: Path, tmp_path: Path
) -> None:
    empty_head.add_nodes(3)
    job = ("--source", tiny_corpus, "--store", tmp_path / "store", "--profile", "fast", "--json")
    said, _ = empty_head.drive("plan", *job).communicate(timeout=patience(300))
    planned = json.loads(said.splitlines()[-1])
    assert planned["workers"] == 3
    expected = planned["seconds_to_start"] + planned["core_hours"] * 3600 / 3
    assert planned["seconds_expected"] == pytest.approx(expected, abs=0.2)
    assert not (tmp_path / "store").exists()


def apart(mount: str, folder: Path) -> tuple[str, ...]:
    """The command prefix that starts a node with its own mount of a folder."""
    if shutil.which("unshare") is None or subprocess.run(["unshare", "-m", "true"]).returncode:
        pytest.skip("mount namespaces cannot be created")
    return ("unshare", "-m", "sh", "-c", mount, str(folder))


@pytest.mark.thorough
def test_half_a_cpu_is_enough(empty_head: Head, corpus: Path, tmp_path: Path) -> None:
    empty_head.add_node(cpus=1)
    job = ("--data", corpus, "--out", tmp_path, "--trials", 2, "--backbone", "dlib_resnet")
    done = empty_head.submit("full_study", *job, options=("--entrypoint-num-cpus", "0.5"))
    assert done.returncode == 0, done.stdout


@pytest.mark.thorough
@pytest.mark.parametrize("hidden", ["data", "out"])
def test_folder_that_is_not_shared_is_refused(
    empty_head: Head, tiny_corpus: Path, tmp_path: Path, hidden: str
) -> None:
    folders = {"data": tmp_path / "data", "out": tmp_path / "out"}
    shutil.copytree(tiny_corpus, folders["data"])
    folders["out"].mkdir()
    empty_head.add_node(1, apart(HIDE, folders[hidden]))
    empty_head.wait_for_nodes(2)
    driver = empty_head.drive("extract", "--data", folders["data"], "--out", folders["out"])
    said, _ = driver.communicate(timeout=patience(300))
    assert driver.returncode == 2, said
    assert f"{folders[hidden]}" in said
    assert "is missing or differs on a node of the cluster" in said
    assert "Traceback" not in said


@pytest.mark.thorough
@pytest.mark.parametrize("job", ["extract", "sweep"])
def test_node_with_other_images_is_refused(
    empty_head: Head, tiny_corpus: Path, tmp_path: Path, job: str
) -> None:
    data, out = tmp_path / "data", tmp_path / "out"
    shutil.copytree(tiny_corpus, data)
    empty_head.add_node(1, apart(OTHER, data))
    empty_head.wait_for_nodes(2)
    source, target = JOBS[job]
    driver = empty_head.drive(job, source, data, target, out)
    said, _ = driver.communicate(timeout=patience(300))
    assert driver.returncode == 2, said
    assert f"{data} is missing or differs on a node of the cluster" in said
    assert "Traceback" not in said


@pytest.mark.thorough
@pytest.mark.parametrize("job", ["extract", "sweep"])
def test_image_removed_while_a_job_waits_is_a_row(
    empty_head: Head, tiny_corpus: Path, tmp_path: Path, job: str
) -> None:
    data, out = tmp_path / "data", tmp_path / "out"
    shutil.copytree(tiny_corpus, data)
    source, target = JOBS[job]
    driver = empty_head.drive(job, source, data, target, out, "--json")
    assert driver.stdout is not None
    said = driver.stdout.readline()
    while said and "waiting for CPUs" not in said:
        said = driver.stdout.readline()
    assert said, "the job does not say that it waits"
    labelled = min(data.rglob("*_emotion.txt")).name.replace("_emotion.txt", ".png")
    next(data.rglob(labelled)).unlink()
    empty_head.add_node(1)
    said, _ = driver.communicate(timeout=patience(300))
    assert driver.returncode == 0, said
    assert re.search(r'"unreadable": 1\b', said), said
