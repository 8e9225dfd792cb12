import json
import logging
import re
import time
import urllib.request
from pathlib import Path

import pytest
import ray

from fer_ray.cli.output.sweep_output import JsonLines
from fer_ray.execution.cluster.prometheus import SweepMetrics
from fer_ray.pipelines.sweeps.publishing.manifest import measure_drift
from fer_ray.report.sweep_page import HEIGHT, WIDTH, render_store_page, throughput_curve
from tests.patience import wait_until
from tests.pipelines.sweeps.conftest import Swept, tiny_image


def manifest_of(faces: int, processed: int, recipe: str = "r", **classes: int) -> dict[str, object]:
    outcomes = {"ok": faces, "no_face": processed - faces, "unreadable": 7} if processed else {}
    return {"finished": True, "recipe": recipe, "outcomes": outcomes, "classes": classes}


def test_sweep_page_content(swept: Swept, source: Path, store: Path) -> None:
    (source / "evil<script>.png").write_bytes(b"no image")
    name = swept()["sweep"]
    page = (store / "sweeps" / f"{name}.html").read_text()
    assert "8 images in" in page
    assert "<summary>all</summary>" in page
    [faces] = re.findall(r"<th>ok</th>.*?</tr>", page, re.DOTALL)
    examples = re.findall("<code>(.*?)</code>", faces)
    assert examples
    assert all((source / path).is_file() for path in examples)
    assert f'DeltaTable("{store}/images")' in page
    assert re.search(r"unreadable</th><td class=\"n\">2</td>", page)
    assert "evil&lt;script&gt;.png" in page
    assert page.count("<script>") == 1
    assert "default-src &#39;none&#39;" in page
    assert json.loads((store / "sweeps" / f"{name}.json").read_text())["finished"] is True


def test_store_page_links_its_sweeps(swept: Swept, source: Path, store: Path) -> None:
    (source / "evil<script>.png").write_bytes(b"no image")
    first = swept()["sweep"]
    tiny_image(source / "another.png", seed=77)
    second = swept()["sweep"]
    page = (store / "sweeps" / "index.html").read_text()
    assert re.findall(r'<tr><th><a href="(.*?)\.html">', page) == [second, first]
    assert all((store / "sweeps" / f"{name}.html").is_file() for name in (first, second))
    assert "<h1>9 images</h1>" in page
    assert "evil&lt;script&gt;.png" in page
    assert re.findall("<figcaption>(.*?), by finished sweep", page) == [
        "Images per second", "Images with a face", "Images that failed",
    ]  # fmt: skip
    assert "Predictions by sweep" not in page  # the sweeps have no model
    manifests = [json.loads((store / "sweeps" / f"{name}.json").read_text())
                 for name in (second, first)]  # fmt: skip
    for manifest, share in zip(manifests, (0.25, 0.125), strict=True):
        manifest["drift"].append({"name": "happy", "share": share, "before": None, "alert": False})
    assert "Predicted: happy, by finished sweep; 25.0% in the last one" in render_store_page(
        manifests
    )
    assert 'href="index.html"' in (store / "sweeps" / f"{second}.html").read_text()


def test_drift_alert(
    swept: Swept, source: Path, store: Path, caplog: pytest.LogCaptureFixture
) -> None:
    first = swept()
    assert [(drift["before"], drift["alert"]) for drift in first["drift"]] == [(None, False)]
    assert swept()["drift"] == []  # nothing was processed
    for number in range(12):
        tiny_image(source / f"faceless{number}.png", seed=100 + number)
    with caplog.at_level(logging.WARNING):
        third = swept()
    [face_found] = third["drift"]
    assert face_found["before"] == pytest.approx(4 / 5)
    assert face_found["share"] == 0
    assert face_found["alert"] is True
    assert "face found" in caplog.text
    assert "Drift" in (store / "sweeps" / f"{third['sweep']}.html").read_text()


def test_drift_compares_sweeps_with_same_recipe() -> None:
    nothing = [manifest_of(0, 0)] * 9
    earlier = [
        *nothing, manifest_of(50, 100, "other"), manifest_of(80, 100, happy=40, anger=40),
        manifest_of(60, 100, happy=60),
    ]  # fmt: skip
    drifts = {
        drift["name"]: drift
        for drift in measure_drift(manifest_of(70, 100, happy=70), earlier, threshold=0.2)
    }
    assert drifts["face found"]["before"] == pytest.approx(0.7)
    assert drifts["face found"]["alert"] is False
    assert drifts["happy"]["before"] == pytest.approx(0.75)
    assert drifts["happy"]["alert"] is True
    assert (drifts["anger"]["share"], drifts["anger"]["alert"]) == (0, True)  # it no longer occurs


def test_few_images_raise_no_alert() -> None:
    earlier = [manifest_of(80, 100)]
    assert not measure_drift(manifest_of(2, 3), earlier, threshold=0.1)[0]["alert"]
    assert measure_drift(manifest_of(67, 100), earlier, threshold=0.1)[0]["alert"]


def test_throughput_curve() -> None:
    assert throughput_curve([]) is None
    assert throughput_curve([[0, 0]]) is None
    course = throughput_curve([[0, 0], [5, 10], [10, 30]])
    assert course is not None
    assert course["most"] == 4
    points = [tuple(map(float, point.split(","))) for point in course["points"].split()]
    half = (WIDTH / 2, HEIGHT / 2)
    assert points == [(0, HEIGHT / 2), half, (WIDTH / 2, 0), (WIDTH, 0)]
    short = throughput_curve([[2, 0], [3.5, 3]])
    assert short is not None
    assert short["most"] == 2


def test_json_lines() -> None:
    record = logging.LogRecord(
        "fer_ray.pipelines.sweeps", 20, "", 0, "sweep %s ended", ("x",), None
    )
    record.figures = {"read": 7}
    line = json.loads(JsonLines().format(record))
    assert (line["level"], line["message"], line["read"]) == ("INFO", "sweep x ended", 7)


@pytest.mark.slow
def test_ray_exports_the_metrics_of_a_sweep(local_ray: int) -> None:
    [node] = ray.nodes()
    port, left = node["MetricsExportPort"], 12_345  # a number that no other test exports
    with SweepMetrics(left) as metrics:
        metrics.processed({"ok": 3, "no_face": 1}, left)
        metrics.committed()
        wait_until(lambda: exported(port).get("ray_fer_ray_sweep_images_left") == left)
        values = exported(port)
    assert values["ray_fer_ray_sweep_commits_total"] >= 1
    assert values["ray_fer_ray_sweep_images_total ok"] >= 3


@pytest.mark.thorough
def test_number_of_remaining_images_is_exported_until_the_end(local_ray: int) -> None:
    [node] = ray.nodes()
    port, left = node["MetricsExportPort"], 23_456
    name = "ray_fer_ray_sweep_images_left"
    with SweepMetrics(left):
        wait_until(lambda: exported(port).get(name) == left)
        time.sleep(25)  # Ray drops a gauge that is not set for 20 s
        assert exported(port)[name] == left
    wait_until(lambda: name not in exported(port))


def exported(port: int) -> dict[str, float]:
    """Values of the metrics of sweeps, by name and, if they have one, status."""
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=30) as answer:
        lines = answer.read().decode().splitlines()
    values = {}
    for line in lines:
        if line.startswith("ray_fer_ray_sweep"):
            name, _, labels = line.partition("{")
            status = re.search(r'status="(\w+)"', labels, re.IGNORECASE)
            values[f"{name} {status[1]}" if status else name] = float(line.rsplit(" ", 1)[1])
    return values
