import json
import logging
import re
import subprocess
import sys
from pathlib import Path

import pytest

from fer_ray.cli.sweep_output import JsonLines
from fer_ray.pipelines.sweeps.manifest import drift
from fer_ray.report.sweep_page import HEIGHT, WIDTH, throughput
from tests.pipelines.sweeps.conftest import Swept, tiny_image
from tests.pipelines.sweeps.s3 import free_port


def told(faces: int, seen: int, recipe: str = "r", **classes: int) -> dict[str, object]:
    outcomes = {"ok": faces, "no_face": seen - faces, "unreadable": 7} if seen else {}
    return {"finished": True, "recipe": recipe, "outcomes": outcomes, "classes": classes}


def test_a_sweep_leaves_a_page_of_what_it_found(swept: Swept, source: Path, store: Path) -> None:
    (source / "evil<script>.png").write_bytes(b"no image")
    name = swept()["sweep"]
    page = (store / "sweeps" / f"{name}.html").read_text()
    assert "8 images in" in page
    assert re.search(r"unreadable</th><td class=\"n\">2</td>", page)
    assert "evil&lt;script&gt;.png" in page
    assert "<script" not in page
    assert "default-src &#39;none&#39;" in page
    assert json.loads((store / "sweeps" / f"{name}.json").read_text())["finished"] is True


def test_a_share_that_moves_is_an_alert(
    swept: Swept, source: Path, store: Path, caplog: pytest.LogCaptureFixture
) -> None:
    first = swept()
    assert [(one["before"], one["alert"]) for one in first["drift"]] == [(None, False)]
    assert swept()["drift"] == []  # nothing was described
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


def test_shares_are_held_against_the_last_sweeps_under_the_same_recipe() -> None:
    nothing = [told(0, 0)] * 9
    earlier = [
        *nothing, told(50, 100, "other"), told(80, 100, happy=40, anger=40), told(60, 100, happy=60)
    ]  # fmt: skip
    found = {one["name"]: one for one in drift(told(70, 100, happy=70), earlier, threshold=0.2)}
    assert found["face found"]["before"] == pytest.approx(0.7)
    assert found["face found"]["alert"] is False
    assert found["happy"]["before"] == pytest.approx(0.75)
    assert found["happy"]["alert"] is True
    assert (found["anger"]["share"], found["anger"]["alert"]) == (0, True)  # it has vanished


def test_a_share_of_few_images_is_no_alert_by_chance() -> None:
    earlier = [told(80, 100)]
    assert not drift(told(2, 3), earlier, threshold=0.1)[0]["alert"]
    assert drift(told(67, 100), earlier, threshold=0.1)[0]["alert"]


def test_the_course_of_throughput_fits_its_picture() -> None:
    assert throughput([]) is None
    assert throughput([[0, 0]]) is None
    course = throughput([[0, 0], [5, 10], [10, 30]])
    assert course is not None
    assert course["most"] == 4
    points = [tuple(map(float, point.split(","))) for point in course["points"].split()]
    half = (WIDTH / 2, HEIGHT / 2)
    assert points == [(0, HEIGHT / 2), half, (WIDTH / 2, 0), (WIDTH, 0)]
    short = throughput([[2, 0], [3.5, 3]])
    assert short is not None
    assert short["most"] == 2


def test_logs_are_one_json_object_a_line() -> None:
    record = logging.LogRecord(
        "fer_ray.pipelines.sweeps", 20, "", 0, "sweep %s ended", ("x",), None
    )
    record.figures = {"read": 7}
    line = json.loads(JsonLines().format(record))
    assert (line["level"], line["message"], line["read"]) == ("INFO", "sweep x ended", 7)


SCRAPED = """
import time, urllib.request, ray
from fer_ray.execution.authentication import prepare_token
prepare_token()
ray.init(address="local", num_cpus=1, include_dashboard=False, _metrics_export_port={port},
         object_store_memory=80_000_000, logging_level="ERROR")
from fer_ray.execution.prometheus import Metrics
metrics = Metrics()
metrics.described({{"ok": 3, "no_face": 1}}, 5)
metrics.committed()
for _ in range(80):
    time.sleep(0.5)
    try:
        text = urllib.request.urlopen("http://127.0.0.1:{port}/metrics").read().decode()
    except OSError:
        continue
    if "fer_ray_sweep_commits" in text:
        break
print(text)
"""


@pytest.mark.slow
def test_rays_exporter_tells_a_sweeps_figures() -> None:
    code = SCRAPED.format(port=free_port())
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    lines = [line for line in done.stdout.splitlines() if line.startswith("ray_fer_ray_sweep")]
    values = {line.split("{")[0]: float(line.rsplit(" ", 1)[1]) for line in lines}
    assert values["ray_fer_ray_sweep_images_left"] == 5, done.stderr
    assert any("commits" in name and value == 1 for name, value in values.items())
    assert any('status="ok"' in line and line.endswith(" 3.0") for line in lines)
