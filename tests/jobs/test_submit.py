"""The jobs, through `ray job submit` to a head on loopback that asks for a token."""

import re
from collections.abc import Callable
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from deltalake import DeltaTable

from tests.jobs.head import REPO, Head, wait_until

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]


GUIDE = (REPO / "docs" / "operations.md").read_text(encoding="utf-8")
SUBMIT_LINES = re.findall(r"^ray job submit .* python (jobs/\w+\.py) .*$", GUIDE, re.MULTILINE)


def trials_of(out: Path) -> list[dict[str, object]]:
    """All but how long they took."""
    return pq.read_table(out / "trials").drop_columns(["seconds"]).to_pylist()  # type: ignore[no-any-return]


Paste = Callable[..., Path]


@pytest.fixture
def paste(head: Head, corpus: Path, tmp_path: Path) -> Paste:
    """Pastes the guide's submit lines of some jobs one after another; the folder they work in."""

    def call(*jobs: str) -> Path:
        (tmp_path / "corpus").symlink_to(corpus)
        for job in jobs:
            [line] = re.findall(
                rf"^ray job submit .* jobs/{job}\.py .*/tmp/fer-ray/.*$", GUIDE, re.M
            )
            done = head.paste(line.replace("/tmp/fer-ray", str(tmp_path)))
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
def test_submitted_steps_give_what_a_local_run_gives(paste: Paste, run_dir: Path) -> None:
    frames = paste("extract_features", "run_svm_trials", "search_heads") / "frames"
    assert pq.read_table(frames / "frames").equals(pq.read_table(run_dir / "frames"))
    folds = [str(trial["experiment"]) for trial in trials_of(frames)]
    svms = [experiment for experiment in folds if experiment.startswith("svm")]
    assert len(svms) == 2 * 10  # kernels × folds
    assert all("subject-10fold" in experiment for experiment in svms)
    assert len(folds) - len(svms) == 2  # trials of the head search
    assert len(list((frames / "heads").glob("head-search-geometry-*.keras"))) == 1


@pytest.mark.thorough
def test_a_submitted_sweep_gives_each_image_a_row(paste: Paste, corpus: Path) -> None:
    images = DeltaTable(str(paste("reprocess_dump") / "store" / "images")).to_pyarrow_table()
    assert set(images["path"].to_pylist()) == {
        file.relative_to(corpus).as_posix() for file in corpus.rglob("*.png")
    }


def test_a_users_mistake_fails_the_job_with_its_exit_code(head: Head, tmp_path: Path) -> None:
    done = head.submit("extract_features", "--data", tmp_path / "none", "--out", tmp_path / "out")
    assert done.returncode == 1  # `ray job` knows no other
    assert "exit code 2" in done.stdout
    assert "Traceback" not in done.stdout


def test_a_stopped_job_ends_cleanly_and_the_next_one_carries_on(
    head: Head, tiny_corpus: Path, tiny_frames: Path, tmp_path: Path
) -> None:
    job = ("--data", tiny_corpus, "--out", tmp_path, "--frames", "all")
    slow = ("--workers", 1, "--set", "execution.block_images=1")
    submitted = head.submit("extract_features", *job, *slow, options=("--no-wait",))
    name = re.search(r"raysubmit_\w+", submitted.stdout)
    assert name is not None, submitted.stdout
    wait_until(lambda: len(list(tmp_path.glob("frames.partial/*/*.parquet"))) >= 2)
    stopped = head.ray("job", "stop", name.group())
    assert stopped.returncode == 0, stopped.stdout
    kept = {file.name for file in tmp_path.glob("frames.partial/*/*.parquet")}
    assert "was stopped" in head.ray("job", "status", name.group()).stdout
    assert not (tmp_path / "frames").exists()
    log = head.ray("job", "logs", name.group()).stdout
    assert "Traceback" not in log

    done = head.submit("extract_features", *job, "--json")
    assert done.returncode == 0, done.stdout
    fresh = int(re.findall(r'"images_done": (\d+)', done.stdout)[0])
    rows = pq.read_table(tmp_path / "frames")
    assert fresh <= rows.num_rows - len(kept) < rows.num_rows
    assert rows.equals(pq.read_table(tiny_frames))


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
