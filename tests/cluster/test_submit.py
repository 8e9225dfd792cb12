"""The jobs, submitted with `ray job submit` to a cluster with token authentication."""

import json
import re
import shlex
import shutil
from collections.abc import Callable
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from fer_ray.vocabulary import ExitCode
from tests.cluster.head import REPO, Head, committed, written_blocks
from tests.conftest import FerRay
from tests.patience import patience, wait_until
from tests.pipelines.sweeps.conftest import rows

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1200)]

GUIDE = (REPO / "docs" / "how-to" / "cluster.md").read_text(encoding="utf-8")
SUBMIT_LINES = re.findall(r"^ray job submit .* python (jobs/\w+\.py) .*$", GUIDE, re.MULTILINE)


def trials_of(out: Path) -> list[dict[str, object]]:
    """Rows of the trials, without their durations."""
    return pq.read_table(out / "trials").drop_columns(["seconds"]).to_pylist()


EXTRACTING = ("full_study", "extract_features")
STEPS = ("extract_features", "run_svm_trials", "search_classifiers", "search_heads")


def submit_line(job: str) -> str:
    """The line of the guide that submits a job on the small corpus."""
    [line] = re.findall(rf"^ray job submit .* jobs/{job}\.py .*/tmp/fer-ray/.*$", GUIDE, re.M)
    return line


def local_command(job: str, out: Path) -> list[str]:
    """The `fer-ray` command of a submit line, with another output folder."""
    [command] = re.findall(r'main\(\["([\w-]+)"', (REPO / "jobs" / f"{job}.py").read_text())
    options = shlex.split(submit_line(job).partition(f"{job}.py")[2])
    return [command, *(str(out) if one == "/tmp/fer-ray/frames" else one for one in options)]


def svms(out: Path) -> list[dict[str, object]]:
    """Trials of all classifiers except heads."""
    return [one for one in trials_of(out) if not str(one["classifier"]).startswith("head")]


def tried_configurations(out: Path) -> dict[str, list[str]]:
    """The configurations that the head search tried, by trial."""
    [searched] = out.glob("heads/*.search.json")
    trials = json.loads(searched.read_text())["trials"]
    return {
        trial: sorted(json.dumps(one["configuration"], sort_keys=True) for one in tried)
        for trial, tried in trials.items()
    }


Paste = Callable[..., Path]


@pytest.fixture
def paste(head: Head, corpus: Path, tmp_path: Path) -> Paste:
    """Runs the submit lines of some jobs in turn; returns the folder that they work in."""

    def call(*jobs: str, tree: Path = corpus) -> Path:
        (tmp_path / "corpus").symlink_to(tree)
        for job in jobs:
            line = submit_line(job).replace("/tmp/fer-ray", str(tmp_path))
            done = head.paste(line + (" --profile fast" if job in EXTRACTING else ""))
            assert done.returncode == 0, done.stdout
        return tmp_path

    return call


def test_documentation_submits_every_job() -> None:
    jobs = {f"jobs/{file.name}" for file in (REPO / "jobs").glob("*.py")}
    assert set(SUBMIT_LINES) == jobs


def test_submitted_study_equals_local_run(paste: Paste, run_dir: Path) -> None:
    study = paste("full_study") / "study"
    assert pq.read_table(study / "frames").equals(pq.read_table(run_dir / "frames"))
    assert trials_of(study) == trials_of(run_dir)
    assert (study / "report" / "index.html").is_file()


@pytest.mark.thorough
def test_submitted_steps_equal_local_steps(
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
    # Which heads are stopped early depends on the speed of the machine; their results do too.
    assert tried_configurations(frames) == tried_configurations(local)
    assert len(list((frames / "heads").glob("head-search-geometry-*.keras"))) == 1


@pytest.mark.thorough
def test_submitted_sweep_equals_local_sweep(
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


@pytest.mark.thorough
def test_user_error_fails_the_job_with_its_exit_code(head: Head, tmp_path: Path) -> None:
    done = head.submit("extract_features", "--data", tmp_path / "none", "--out", tmp_path / "out")
    assert done.returncode == 1  # the only code of a failed job
    assert "exit code 2" in done.stdout
    assert "Traceback" not in done.stdout


def started(head: Head, script: str, *arguments: object) -> str:
    """Submit a job without waiting for it; its id."""
    submitted = head.submit(script, *arguments, options=("--no-wait",))
    name = re.search(r"raysubmit_\w+", submitted.stdout)
    assert name is not None, submitted.stdout
    return name.group()


@pytest.mark.thorough
def test_stopped_job_is_resumed_by_the_next(
    head: Head, fer_ray: FerRay, tiny_corpus: Path, tiny_frames: Path, tmp_path: Path
) -> None:
    job = ("--data", tiny_corpus, "--out", tmp_path, "--frames", "all")
    slow = ("--workers", 1, "--set", "execution.block_images=1")
    name = started(head, "extract_features", *job, *slow)
    wait_until(lambda: written_blocks(tmp_path) >= 2)
    head.stop_job(name)
    blocks = written_blocks(tmp_path)
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
def test_stopped_sweep_commits_and_the_next_completes_it(
    head: Head, fer_ray: FerRay, tiny_corpus: Path, tmp_path: Path
) -> None:
    stopped, undisturbed = tmp_path / "stopped", tmp_path / "undisturbed"
    job = ("--source", tiny_corpus, "--store")
    slow = ("--workers", 1, "--set", "execution.block_images=1", "--set", "sweep.commit_rows=2")
    name = started(head, "reprocess_dump", *job, stopped, *slow)
    wait_until(lambda: committed(stopped) >= 3)
    head.stop_job(name)
    assert "Traceback" not in head.ray("job", "logs", name).stdout
    [manifest] = stopped.glob("sweeps/*.json")
    assert json.loads(manifest.read_text())["exit_code"] == ExitCode.STOPPED

    done = fer_ray("sweep", *job, stopped, "--json")
    assert done.returncode == 0, done.stderr
    images = rows(stopped, "images")
    assert json.loads(done.stdout)["described"] < len(images)
    assert fer_ray("sweep", *job, undisturbed).returncode == 0
    assert images == rows(undisturbed, "images")
    assert rows(stopped, "results") == rows(undisturbed, "results")


def test_dashboard_listens_on_loopback_only(head: Head) -> None:
    port = int(head.dashboard.rpartition(":")[2])
    tables = [Path("/proc/net", name).read_text().splitlines()[1:] for name in ("tcp", "tcp6")]
    sockets = [line.split() for lines in tables for line in lines]
    listening = [local.split(":") for _, local, _, state, *_ in sockets if state == "0A"]
    assert {address for address, number in listening if int(number, 16) == port} == {"0100007F"}


@pytest.mark.parametrize(
    ("client", "says"),
    [
        ({"RAY_AUTH_TOKEN": "0" * 64}, "Invalid authentication token"),
        pytest.param(
            {"RAY_AUTH_MODE": "disabled"}, "Missing authentication token",
            marks=pytest.mark.thorough,
        ),
    ],
)  # fmt: skip
def test_wrong_or_missing_token_is_refused(head: Head, client: dict[str, str], says: str) -> None:
    refused = head.ray("job", "submit", "--", "true", **client)
    assert refused.returncode != 0
    assert says in refused.stderr


@pytest.mark.thorough
def test_driver_with_wrong_token_exits_with_a_message(
    head: Head, tiny_corpus: Path, tmp_path: Path
) -> None:
    quick = {"RAY_NUM_REDIS_GET_RETRIES": "2"}
    driver = head.drive(
        "extract", "--data", tiny_corpus, "--out", tmp_path, RAY_AUTH_TOKEN="0" * 64, **quick
    )
    said, _ = driver.communicate(timeout=patience(240))
    assert driver.returncode == 2, said
    assert "it rejects the token" in said
    assert "RAY_AUTH_TOKEN_PATH" in said
    assert "Traceback" not in said
