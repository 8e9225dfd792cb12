"""Alert rules and dashboard with a real Prometheus (Debian: `apt-get install prometheus`)."""

import json
import shutil
import socket
import subprocess
import threading
import urllib.parse
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import ray
import yaml

from fer_ray.report.sweep_metrics import render_metrics
from fer_ray.vocabulary import ExitCode
from tests.conftest import REPO, FerRay, run_in_process
from tests.patience import wait_until
from tests.pipelines.sweeps.conftest import tiny_image

FOLDER = REPO / "deploy" / "prometheus"
PROMETHEUS, PROMTOOL = shutil.which("prometheus"), shutil.which("promtool")
pytestmark = pytest.mark.skipif(
    not (PROMETHEUS and PROMTOOL), reason="needs prometheus and promtool on the path"
)
STORE = 'a "store"'


def manifest(exit_code: int = 0, **changes: object) -> dict[str, object]:
    return {
        "store": STORE, "exit_code": exit_code, "finished": exit_code in (0, 6),
        "ended": "2026-01-02T03:04:05+00:00", "timings": {"total": 7.5}, "listed": 9,
        "described": 4, "published": {"put": 3, "delete": 0}, "error_share": 0.25,
        "face_share": None, "drift": [{"alert": True}, {"alert": False}], **changes,
    }  # fmt: skip


@pytest.mark.parametrize(
    "command",
    [("check", "config", "prometheus.yml"), ("test", "rules", "alerts_test.yaml")],
    ids=lambda command: command[-1],
)
def test_rules_are_valid_and_fire(command: tuple[str, ...]) -> None:
    done = subprocess.run([str(PROMTOOL), *command], cwd=FOLDER, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def test_metrics_of_a_store() -> None:
    failed = manifest(7, published={}, drift=[], ended="2026-01-03T00:00:00+00:00")
    text = render_metrics([failed, manifest()])
    done = subprocess.run(
        [str(PROMTOOL), "check", "metrics"], input=text, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    label = r'{store="a \"store\""}'
    values = dict(line.rsplit(" ", 1) for line in text.splitlines() if line[0] != "#")
    assert values[f"fer_ray_sweep_exit_code{label}"] == "7"
    assert values[f"fer_ray_sweep_success_timestamp_seconds{label}"] == "1767323045"
    assert values[f"fer_ray_sweep_published_rows{label}"] == "0"
    assert values[f"fer_ray_sweep_error_ratio{label}"] == "0.25"
    assert not any("face_ratio" in name for name in values)


def free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


class QuietHandler(SimpleHTTPRequestHandler):
    """Serves files and logs nothing."""

    def log_message(self, *_: object) -> None:
        pass


@contextmanager
def prometheus(folder: Path, ray_port: int, store_port: int) -> Iterator[str]:
    """The address of a Prometheus that scrapes a Ray and a store."""
    config = yaml.safe_load((FOLDER / "prometheus.yml").read_text())
    config["global"] = {"scrape_interval": "1s", "evaluation_interval": "1s"}
    config["rule_files"] = [str(FOLDER / "alerts.yaml")]
    on_ray, on_store = config["scrape_configs"]
    del on_ray["file_sd_configs"]
    on_ray["static_configs"] = [{"targets": [f"127.0.0.1:{ray_port}"]}]
    on_store["static_configs"] = [{"targets": [f"127.0.0.1:{store_port}"]}]
    file, address = folder / "prometheus.yml", f"127.0.0.1:{free_port()}"
    file.write_text(yaml.safe_dump(config))
    process = subprocess.Popen(
        [str(PROMETHEUS), f"--config.file={file}", f"--storage.tsdb.path={folder / 'data'}",
         f"--web.listen-address={address}", "--log.level=error"]
    )  # fmt: skip
    try:
        yield f"http://{address}"
    finally:
        process.terminate()
        process.wait(30)


def query(address: str, expression: str) -> list[dict[str, object]]:
    """The samples of an instant query; none while Prometheus starts."""
    words = urllib.parse.urlencode({"query": expression})
    try:
        with urllib.request.urlopen(f"{address}/api/v1/query?{words}", timeout=30) as answer:
            return list(json.load(answer)["data"]["result"])
    except OSError:
        return []


def dashboard_queries() -> set[str]:
    document = yaml.safe_load((REPO / "deploy" / "kubernetes" / "dashboard.yaml").read_text())
    board = json.loads(document["data"]["fer-ray.json"])
    return {target["expr"] for panel in board["panels"] for target in panel["targets"]}


@pytest.mark.thorough
def test_jobs_fill_every_panel(
    local_ray: int, fer_ray: FerRay, corpus: Path, tiny_corpus: Path, tmp_path: Path
) -> None:
    missing, ended = dashboard_queries(), threading.Event()
    assert len(missing) > 9
    [node] = ray.nodes()
    fast = ("--profile", "fast", "--set", "execution.executor=ray")
    with prometheus(tmp_path, node["MetricsExportPort"], free_port()) as address:

        def watch() -> None:
            while not ended.wait(0.5):
                missing.difference_update([one for one in missing if query(address, one)])

        watcher = threading.Thread(target=watch)
        watcher.start()
        try:
            for job in (
                ("run", "--data", corpus, "--out", tmp_path / "run", "--trials", 2, *fast),
                ("sweep", "--source", tiny_corpus, "--store", tmp_path / "store", *fast),
            ):
                done = fer_ray(*job)
                assert done.returncode == 0, done.stderr
            wait_until(lambda: not missing)
        finally:
            ended.set()
            watcher.join()


@pytest.mark.thorough
def test_failed_sweep_raises_alerts(tmp_path: Path) -> None:
    store, source = tmp_path / "store", tmp_path / "source"
    tiny_image(source / "noise.png", seed=1)
    (source / "broken.jpg").write_bytes(b"no image")
    done = run_in_process(
        "sweep", "--source", source, "--store", store, "--profile", "fast",
        "--max-error-share", 0.05,
    )  # fmt: skip
    assert done.returncode == ExitCode.TOO_MANY_ERRORS, done.stderr
    handler, fired = partial(QuietHandler, directory=str(store / "sweeps")), "ALERTS"
    with (
        ThreadingHTTPServer(("127.0.0.1", 0), handler) as server,
        prometheus(tmp_path, free_port(), server.server_port) as address,
    ):
        threading.Thread(target=server.serve_forever, daemon=True).start()
        wait_until(lambda: len(query(address, fired)) > 1)
        labels = [alert["metric"] for alert in query(address, fired)]
        server.shutdown()
    assert {(one["alertname"], one["store"]) for one in labels} == {
        (name, str(store)) for name in ("FerRaySweepFailed", "FerRayErrorShare")
    }
