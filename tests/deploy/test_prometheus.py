"""Alert rules and dashboard with a real Prometheus (Debian: `apt-get install prometheus`)."""

import json
import shutil
import socket
import subprocess
import threading
import urllib.parse
import urllib.request
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import ray
import yaml

from fer_ray.execution.cluster.prometheus import (
    Metrics,
    TrialMetrics,
    count_extracted,
    set_extraction_left,
)
from fer_ray.report.sweep_metrics import render_metrics
from tests.conftest import REPO
from tests.patience import wait_until

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


@pytest.fixture
def prometheus(local_ray: int, tmp_path: Path) -> Iterator[str]:
    """The address of a Prometheus that scrapes the local Ray and the folder of a store."""
    store = tmp_path / "sweeps"
    store.mkdir()
    (store / "metrics.prom").write_text(render_metrics([manifest(6)]))
    handler = partial(SimpleHTTPRequestHandler, directory=str(store))
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    config = yaml.safe_load((FOLDER / "prometheus.yml").read_text())
    config["global"] = {"scrape_interval": "1s", "evaluation_interval": "1s"}
    config["rule_files"] = [str(FOLDER / "alerts.yaml")]
    on_ray, on_store = config["scrape_configs"]
    [node] = ray.nodes()
    del on_ray["file_sd_configs"]
    on_ray["static_configs"] = [{"targets": [f"127.0.0.1:{node['MetricsExportPort']}"]}]
    on_store["static_configs"] = [{"targets": [f"127.0.0.1:{server.server_port}"]}]
    file, address = tmp_path / "prometheus.yml", f"127.0.0.1:{free_port()}"
    file.write_text(yaml.safe_dump(config))
    process = subprocess.Popen(
        [str(PROMETHEUS), f"--config.file={file}", f"--storage.tsdb.path={tmp_path / 'data'}",
         f"--web.listen-address={address}", "--log.level=error"]
    )  # fmt: skip
    yield f"http://{address}"
    process.terminate()
    process.wait(30)
    server.shutdown()


def query(address: str, expression: str) -> list[dict[str, object]]:
    """The samples of an instant query; none while Prometheus starts."""
    words = urllib.parse.urlencode({"query": expression})
    try:
        with urllib.request.urlopen(f"{address}/api/v1/query?{words}", timeout=30) as answer:
            return list(json.load(answer)["data"]["result"])
    except OSError:
        return []


@pytest.mark.slow
def test_dashboard_and_alerts_have_data(prometheus: str) -> None:
    document = yaml.safe_load((REPO / "deploy" / "kubernetes" / "dashboard.yaml").read_text())
    board = json.loads(document["data"]["fer-ray.json"])
    missing = {target["expr"] for panel in board["panels"] for target in panel["targets"]}
    assert len(missing) > 9
    sweep, trials = Metrics(), TrialMetrics(10_000)
    waiting = ray.remote(lambda: threading.Event().wait(200)).options(num_cpus=1).remote()

    def all_have_data() -> bool:
        sweep.described({"ok": 3, "unreadable": 1}, 5)
        sweep.committed()
        count_extracted({"ok": 7})
        set_extraction_left(11)
        trials.ended(failed=False)
        missing.difference_update([one for one in missing if query(prometheus, one)])
        return not missing

    try:
        wait_until(all_have_data)
    finally:
        ray.cancel(waiting, force=True)
    assert missing == set()
    alerts = query(prometheus, "ALERTS{alertstate='firing'}")
    labels = [alert["metric"] for alert in alerts]
    assert {(one["alertname"], one["store"]) for one in labels} == {  # type: ignore[index]
        (name, STORE) for name in ("FerRaySweepFailed", "FerRayErrorShare", "FerRayDrift")
    }
