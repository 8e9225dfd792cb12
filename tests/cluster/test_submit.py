"""The jobs, through `ray job submit` to a head on loopback that asks for a token."""

import json
import re
import shlex
import shutil
from collections.abc import Callable
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from fer_ray.vocabulary import ExitCode
from tests.cluster.head import REPO, Head, committed, kept, wait_until
from tests.conftest import FerRay
from tests.pipelines.sweeps.conftest import rows

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]


GUIDE = (REPO / "docs" / "how-to" / "cluster.md").read_text(encoding="utf-8")
SUBMIT_LINES = re.findall(r"^ray job submit .* python (jobs/\w+\.py) .*$", GUIDE, re.MULTILINE)


def trials_of(out: Path) -> list[dict[str, object]]:
    """All but how long they took."""
    return pq.read_table(out / "trials").drop_columns(["seconds"]).to_pylist()  # type: ignore[no-any-return]


STEPS = ("extract_features", "run_svm_trials", "search_classifiers", "search_heads")


def submit_line(job: str) -> str:
    """The guide's, on its small corpus."""
    [line] = re.findall(rf"^ray job submit .* jobs/{job}\.py .*/tmp/fer-ray/.*$", GUIDE, re.M)
    return line  # type: ignore[no-any-return]


def local_command(job: str, out: Path) -> list[str]:
    """`fer-ray` with the options of a submit line, in a folder of its own."""
    [command] = re.findall(r'main\(\["([\w-]+)"', (REPO / "jobs" / f"{job}.py").read_text())
    options = shlex.split(submit_line(job).partition(f"{job}.py")[2])
    return [command, *(str(out) if one == "/tmp/fer-ray/frames" else one for one in options)]


def svms(out: Path) -> list[dict[str, object]]:
    """Trials of all but heads."""
    return [one for one in trials_of(out) if not str(one["classifier"]).startswith("head")]


def raced(out: Path) -> dict[str, list[str]]:
    """The configurations that the search of heads tried, of each trial."""
    [searched] = out.glob("heads/*.search.json")
    trials = json.loads(searched.read_text())["trials"]
    return {
        trial: sorted(json.dumps(one["configuration"], sort_keys=True) for one in tried)
        for trial, tried in trials.items()
    }


Paste = Callable[..., Path]


@pytest.fixture
def paste(head: Head, corpus: Path, tmp_path: Path) -> Paste:
    """Pastes the guide's submit lines of some jobs one after another; the folder they work in."""

    def call(*jobs: str, tree: Path = corpus) -> Path:
        (tmp_path / "corpus").symlink_to(tree)
        for job in jobs:
            done = head.paste(submit_line(job).replace("/tmp/fer-ray", str(tmp_path)))
            assert done.returncode == 0, done.stdout
        return tmp_path

    return call


def test_the_guide_submits_every_job() -> None:
    jobs = {f"jobs/{file.name}" for file in (REPO / "jobs").glob("*.py")}
    assert set(SUBMIT_LINES) == jobs


def test_a_submitted_study_gives_what_a_local_run_gives(paste: Paste, run_dir: Path) -> None:
    study = paste("full_study") / "study"
    assert pq.read_table(study / "frames").equals(pq.read_table(run_dir / "frames"))
    assert trials_of(study) == trials_of(run_dir)
    assert (study / "report" / "index.html").is_file()


@pytest.mark.thorough
def test_submitted_steps_give_what_local_ones_give(
    paste: Paste, run_dir: Path, tmp_path_factory: pytest.TempPathFactory, fer_ray: FerRay
) -> None:
    frames = paste(*STEPS) / "frames"
    assert pq.read_table(frames / "frames").equals(pq.read_table(run_dir / "frames"))
    local = tmp_path_factory.mktemp("local")
    shutil.copytree(frames / "frames", local / "frames")
    shutil.copy(frames / "extract.json", local)
    for job in STEPS[1:]:
        done = fer_ray(*local_command(job, local))
        assert done.returncode == 0, done.stderr
    assert len(svms(local)) == 2 * 10 + 2  # kernels × folds, trials of the search
    assert svms(frames) == svms(local)
    # Which heads are ended early depends on which are ahead of them: on the machine's pace.
    assert raced(frames) == raced(local)
    assert len(list((frames / "heads").glob("head-search-geometry-*.keras"))) == 1


@pytest.mark.thorough
def test_a_submitted_sweep_gives_what_a_local_one_gives(
    paste: Paste, tiny_corpus: Path, tmp_path: Path, fer_ray: FerRay
) -> None:
    submitted, local = paste("reprocess_dump", tree=tiny_corpus) / "store", tmp_path / "local"
    done = fer_ray("sweep", "--source", tiny_corpus, "--store", local, "--profile", "fast")
    assert done.returncode == 0, done.stderr
    for table in ("images", "results"):
        assert rows(submitted, table) == rows(local, table)
    assert {row["path"] for row in rows(local, "images")} == {
        file.relative_to(tiny_corpus).as_posix() for file in tiny_corpus.rglob("*.png")
    }


def test_a_users_mistake_fails_the_job_with_its_exit_code(head: Head, tmp_path: Path) -> None:
    done = head.submit("extract_features", "--data", tmp_path / "none", "--out", tmp_path / "out")
    assert done.returncode == 1  # `ray job` knows no other
    assert "exit code 2" in done.stdout
    assert "Traceback" not in done.stdout


def started(head: Head, script: str, *arguments: object) -> str:
    """A job that is submitted and not waited for: its id."""
    submitted = head.submit(script, *arguments, options=("--no-wait",))
    name = re.search(r"raysubmit_\w+", submitted.stdout)
    assert name is not None, submitted.stdout
    return name.group()


def test_a_stopped_job_ends_cleanly_and_the_next_one_carries_on(
    head: Head, fer_ray: FerRay, tiny_corpus: Path, tiny_frames: Path, tmp_path: Path
) -> None:
    job = ("--data", tiny_corpus, "--out", tmp_path, "--frames", "all")
    slow = ("--workers", 1, "--set", "execution.block_images=1")
    name = started(head, "extract_features", *job, *slow)
    wait_until(lambda: kept(tmp_path) >= 2)
    stopped = head.ray("job", "stop", name)
    assert stopped.returncode == 0, stopped.stdout
    blocks = kept(tmp_path)
    assert "was stopped" in head.ray("job", "status", name).stdout
    assert not (tmp_path / "frames").exists()
    log = head.ray("job", "logs", name).stdout
    assert "Traceback" not in log

    done = fer_ray("extract", *job, "--json")
    assert done.returncode == 0, done.stderr
    fresh = json.loads(done.stdout)["timings"]["images_done"]
    rows = pq.read_table(tmp_path / "frames")
    assert fresh <= rows.num_rows - blocks < rows.num_rows
    assert rows.equals(pq.read_table(tiny_frames))


@pytest.mark.thorough
def test_a_stopped_sweep_commits_what_is_finished_and_the_next_one_does_the_rest(
    head: Head, fer_ray: FerRay, tiny_corpus: Path, tmp_path: Path
) -> None:
    stopped, undisturbed = tmp_path / "stopped", tmp_path / "undisturbed"
    job = ("--source", tiny_corpus, "--profile", "fast", "--store")
    slow = ("--workers", 1, "--set", "execution.block_images=1", "--set", "sweep.commit_rows=2")
    name = started(head, "reprocess_dump", *job, stopped, *slow)
    wait_until(lambda: committed(stopped) >= 3)
    assert head.ray("job", "stop", name).returncode == 0
    assert "Traceback" not in head.ray("job", "logs", name).stdout
    [manifest] = stopped.glob("sweeps/*.json")
    assert json.loads(manifest.read_text())["exit_code"] == ExitCode.STOPPED

    done = fer_ray("sweep", *job, stopped, "--json")
    assert done.returncode == 0, done.stderr
    images = rows(stopped, "images")
    assert 0 < json.loads(done.stdout)["described"] < len(images)
    assert fer_ray("sweep", *job, undisturbed).returncode == 0
    assert images == rows(undisturbed, "images")
    assert rows(stopped, "results") == rows(undisturbed, "results")


def test_the_dashboard_listens_on_loopback_alone(head: Head) -> None:
    port = int(head.dashboard.rpartition(":")[2])
    tables = [Path("/proc/net", name).read_text().splitlines()[1:] for name in ("tcp", "tcp6")]
    sockets = [line.split() for lines in tables for line in lines]
    listening = [local.split(":") for _, local, _, state, *_ in sockets if state == "0A"]
    assert {address for address, number in listening if int(number, 16) == port} == {"0100007F"}


@pytest.mark.parametrize(
    ("client", "says"),
    [
        ({"RAY_AUTH_TOKEN": "0" * 64}, "Invalid authentication token"),
        ({"RAY_AUTH_MODE": "disabled"}, "Missing authentication token"),
    ],
)
def test_a_wrong_or_missing_token_is_refused(head: Head, client: dict[str, str], says: str) -> None:
    refused = head.ray("job", "submit", "--", "true", **client)
    assert refused.returncode != 0
    assert says in refused.stderr


def test_a_driver_with_a_wrong_token_is_told_so(
    head: Head, tiny_corpus: Path, tmp_path: Path
) -> None:
    quick = {"RAY_NUM_REDIS_GET_RETRIES": "2"}
    driver = head.drive(
        "extract", "--data", tiny_corpus, "--out", tmp_path, RAY_AUTH_TOKEN="0" * 64, **quick
    )
    said, _ = driver.communicate(timeout=120)
    assert driver.returncode == 2, said
    assert "a file with its token?" in said
    assert "Traceback" not in said
