"""A cluster whose nodes come, go and see different disks, under a job that runs."""

import json
import re
import shutil
import subprocess
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from fer_ray.vocabulary import ExitCode
from tests.cluster.head import Head, committed, kept, wait_until
from tests.conftest import FerRay
from tests.evaluation.conftest import draw_frames
from tests.networks.conftest import RandomWeights, first_frames
from tests.pipelines.sweeps.conftest import rows

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

BLOCKS_OF_ONE = ("--set", "execution.block_images=1")
# A node whose disk is its own: the named folder is there, and empty, or holds another image.
HIDE = 'mount -t tmpfs none "$0" && exec "$@"'
OTHER = 'mount -t tmpfs none "$0" && touch "$0/other.png" && exec "$@"'
JOBS = {"extract": ("--data", "--out"), "sweep": ("--source", "--store")}
EACH_JOB = pytest.mark.parametrize(
    "job", ["extract", pytest.param("sweep", marks=pytest.mark.thorough)]
)


def test_a_job_uses_nodes_that_join_and_loses_nothing_with_one_that_goes(
    empty_head: Head, tiny_corpus: Path, tiny_frames: Path, tmp_path: Path
) -> None:
    driver = empty_head.drive(
        "extract", "--data", tiny_corpus, "--out", tmp_path, "--frames", "all", *BLOCKS_OF_ONE
    )
    first = empty_head.add_node(processors=1)
    wait_until(lambda: kept(tmp_path) >= 2)
    first.kill()
    assert driver.poll() is None
    empty_head.add_node(processors=1)
    said, _ = driver.communicate(timeout=300)
    assert driver.returncode == 0, said
    assert pq.read_table(tmp_path / "frames").equals(pq.read_table(tiny_frames))


@pytest.mark.thorough
def test_a_sweep_uses_nodes_that_join_and_loses_nothing_with_one_that_goes(
    empty_head: Head, tiny_corpus: Path, tmp_path: Path, fer_ray: FerRay
) -> None:
    disturbed, alone = tmp_path / "disturbed", tmp_path / "alone"
    job = ("sweep", "--source", tiny_corpus, "--profile", "fast", "--store")
    driver = empty_head.drive(*job, disturbed, *BLOCKS_OF_ONE, "--set", "sweep.commit_rows=2")
    first = empty_head.add_node(processors=1)
    wait_until(lambda: committed(disturbed) >= 3)
    first.kill()
    assert driver.poll() is None
    empty_head.add_node(processors=1)
    said, _ = driver.communicate(timeout=300)
    assert driver.returncode == 0, said
    assert fer_ray(*job, alone).returncode == 0
    for table in ("images", "results"):
        assert rows(disturbed, table) == rows(alone, table)


def grows(head: Head, actors: str, *command: object) -> None:
    """A command that has one node's processor at first is given another's; its actors use both."""

    def used() -> int:
        working = [one for one in head.alive("actors") if actors in one["class_name"]]
        return len({one["node_id"] for one in working})

    head.add_node(processors=1)
    wait_until(lambda: head.nodes_alive() == 2)
    driver = head.drive(*command)
    wait_until(lambda: used() == 1)
    head.add_node(processors=1)
    wait_until(lambda: used() == 2)
    said, _ = driver.communicate(timeout=300)
    assert driver.returncode == 0, said


@pytest.mark.thorough
def test_a_search_uses_a_node_that_joins(empty_head: Head, tmp_path: Path) -> None:
    frames = draw_frames(tmp_path / "run")
    options = ("--feature-sets", "geometry", "--classifiers", "boosting", "--configurations", 50)
    grows(empty_head, "Trainable", "search", "--out", frames, *options)


@pytest.mark.thorough
def test_a_node_that_joins_a_search_and_does_not_see_the_run_folder_ends_it(
    empty_head: Head, tmp_path: Path
) -> None:
    frames = draw_frames(tmp_path / "run")
    options = ("--feature-sets", "geometry", "--classifiers", "boosting", "--configurations", 50)
    empty_head.add_node(1)
    wait_until(lambda: empty_head.nodes_alive() == 2)
    driver = empty_head.drive("search", "--out", frames, *options)
    wait_until(lambda: any("Trainable" in one["class_name"] for one in empty_head.alive("actors")))
    empty_head.add_node(1, apart(HIDE, frames))
    said, _ = driver.communicate(timeout=300)
    assert driver.returncode == 2, said
    assert f"{frames} is not there on every node of the cluster" in said
    assert "Traceback" not in said


@pytest.mark.thorough
def test_bottleneck_features_use_a_node_that_joins(
    empty_head: Head, run_dir: Path, random_weights: RandomWeights, tmp_path: Path
) -> None:
    out, weights = first_frames(run_dir, tmp_path / "run", 80), random_weights("vgg16")
    options = ("--backbone", "vgg16", "--weights", weights, "--set", "execution.block_images=4")
    grows(empty_head, "_NetworkWorker", "bottleneck", "--out", out, *options)


@pytest.mark.thorough
def test_workers_take_the_backend_of_the_driver_and_not_their_nodes_own(
    empty_head: Head, run_dir: Path, trained_mobilenet: Path, tmp_path: Path
) -> None:
    out = first_frames(run_dir, tmp_path / "run", 8)
    empty_head.add_node(1, wrap=("env", "KERAS_BACKEND=nonsense"))
    options = ("--backbone", "mobilenet", "--weights", trained_mobilenet)
    driver = empty_head.drive("bottleneck", "--out", out, *options, KERAS_BACKEND="tensorflow")
    said, _ = driver.communicate(timeout=200)
    assert driver.returncode == 0, said


def test_a_sweep_that_waits_for_a_first_node_ends_when_it_is_told_to(
    empty_head: Head, tiny_corpus: Path, tmp_path: Path
) -> None:
    driver = empty_head.drive("sweep", "--source", tiny_corpus, "--store", tmp_path / "store")
    assert driver.stdout is not None
    assert any("waiting for processors" in line for line in driver.stdout)
    driver.terminate()
    said, _ = driver.communicate(timeout=60)
    assert driver.returncode == ExitCode.TERMINATED, said
    assert list((tmp_path / "store" / "sweeps").glob("*.json"))


def test_a_plan_counts_the_clusters_processors(
    empty_head: Head, tiny_corpus: Path, tmp_path: Path
) -> None:
    empty_head.add_node(3)
    wait_until(lambda: empty_head.nodes_alive() == 2)
    job = ("--source", tiny_corpus, "--store", tmp_path / "store", "--profile", "fast", "--json")
    said, _ = empty_head.drive("plan", *job).communicate(timeout=120)
    told = json.loads(said.splitlines()[-1])
    assert told["workers"] == 3
    expected = told["seconds_to_start"] + told["core_hours"] * 3600 / 3
    assert told["seconds_expected"] == pytest.approx(expected, abs=0.2)
    assert not (tmp_path / "store").exists()


def apart(mount: str, folder: Path) -> tuple[str, ...]:
    """What starts a node with a mount of its own."""
    if shutil.which("unshare") is None or subprocess.run(["unshare", "-m", "true"]).returncode:
        pytest.skip("no mounts of one's own here")
    return ("unshare", "-m", "sh", "-c", mount, str(folder))


@pytest.mark.thorough
def test_half_a_processor_is_enough(empty_head: Head, corpus: Path, tmp_path: Path) -> None:
    empty_head.add_node(processors=1)
    job = ("--data", corpus, "--out", tmp_path, "--trials", 2, "--backbone", "dlib_resnet")
    done = empty_head.submit("full_study", *job, options=("--entrypoint-num-cpus", "0.5"))
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("hidden", ["data", pytest.param("out", marks=pytest.mark.thorough)])
def test_a_folder_that_a_node_does_not_see_is_refused(
    empty_head: Head, tiny_corpus: Path, tmp_path: Path, hidden: str
) -> None:
    folders = {"data": tmp_path / "data", "out": tmp_path / "out"}
    shutil.copytree(tiny_corpus, folders["data"])
    folders["out"].mkdir()
    empty_head.add_node(1, apart(HIDE, folders[hidden]))
    wait_until(lambda: empty_head.nodes_alive() == 2)
    driver = empty_head.drive("extract", "--data", folders["data"], "--out", folders["out"])
    said, _ = driver.communicate(timeout=120)
    assert driver.returncode == 2, said
    assert f"{folders[hidden]}" in said
    assert "not there on every node" in said
    assert "Traceback" not in said


@EACH_JOB
def test_a_node_with_other_images_is_refused(
    empty_head: Head, tiny_corpus: Path, tmp_path: Path, job: str
) -> None:
    data, out = tmp_path / "data", tmp_path / "out"
    shutil.copytree(tiny_corpus, data)
    empty_head.add_node(1, apart(OTHER, data))
    wait_until(lambda: empty_head.nodes_alive() == 2)
    source, target = JOBS[job]
    driver = empty_head.drive(job, source, data, target, out)
    said, _ = driver.communicate(timeout=120)
    assert driver.returncode == 2, said
    assert f"{data} is not there on every node of the cluster, or not the same" in said
    assert "Traceback" not in said


@EACH_JOB
@pytest.mark.thorough
def test_a_job_waits_for_a_node_and_an_image_removed_meanwhile_is_a_row(
    empty_head: Head, tiny_corpus: Path, tmp_path: Path, job: str
) -> None:
    data, out = tmp_path / "data", tmp_path / "out"
    shutil.copytree(tiny_corpus, data)
    source, target = JOBS[job]
    driver = empty_head.drive(job, source, data, target, out, "--json")
    assert driver.stdout is not None
    said = driver.stdout.readline()
    while said and "waiting for processors" not in said:
        said = driver.stdout.readline()
    assert said, "the job does not say that it waits"
    labelled = min(data.rglob("*_emotion.txt")).name.replace("_emotion.txt", ".png")
    next(data.rglob(labelled)).unlink()
    empty_head.add_node(1)
    said, _ = driver.communicate(timeout=200)
    assert driver.returncode == 0, said
    assert re.search(r'"unreadable": 1\b', said), said
