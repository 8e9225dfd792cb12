"""The tables that jobs print at the end, on a terminal, and messages for errors."""

import errno
import math
from dataclasses import replace
from io import StringIO
from pathlib import Path

import pytest
from rich.console import Console

from fer_ray.cli import given_paths
from fer_ray.cli.output import audit_output, console
from fer_ray.cli.output.error_messages import errors_as_messages
from fer_ray.cli.output.experiment_table import table_lines
from fer_ray.evaluation.comparison import Comparison
from tests.evaluation.simulated_experiments import experiment

SHORT = experiment("svm-linear", "random", 0.8).summary
LONG = replace(SHORT, experiment="svm-linear-hog+landmarks-random-n_trials=3-scale=standard-seed=3")


@pytest.fixture
def printed(monkeypatch):
    """Replace the terminal with one of a given width; returns a function that reads its output."""

    def on(width):
        out = StringIO()
        screen = Console(width=width, highlight=False, soft_wrap=True, file=out)
        monkeypatch.setattr(console, "output_console", lambda: screen)
        return out.getvalue

    return on


def test_names_are_above_figures_on_80_columns(printed):
    text = printed(80)
    console.print_trials([SHORT, LONG], [])
    lines = text().splitlines()
    assert all(len(line.rstrip()) <= 80 for line in lines)
    at = lines.index(LONG.experiment)
    figures = lines[at + 1].split()
    assert figures[:4] == ["10", f"{LONG.test_accuracy:.4f}", "±", f"{LONG.test_accuracy_sd:.3f}"]
    assert lines[1].split()[-6:] == ["train", "recall", "F1", "loss", "ECE", "overlap"]
    assert len(figures) == len(lines[1].split()) - 1  # the header "95% CI" has two words


def test_wide_terminals_have_one_line_per_experiment():
    lines = table_lines([SHORT, LONG], 160)
    assert len(lines) == 3
    assert lines[2].startswith(f"{LONG.experiment}  ")
    assert len({len(line) for line in lines}) == 1


@pytest.mark.parametrize("width", [40, 50, 60, 70, 77])
def test_narrow_terminals_omit_optional_columns(width):
    lines = table_lines([SHORT], width)
    assert max(map(len, lines)) <= width
    assert f"{SHORT.test_accuracy:.4f}" in lines[3]
    assert ("train" in lines[1]) == (width >= 76)


@pytest.mark.parametrize("missing", [math.nan, None])
def test_missing_interval_is_none(missing):
    lines = table_lines([replace(SHORT, interval=(missing, missing))], 160)
    assert " none " in lines[1]
    assert "nan" not in lines[1]


def test_comparison_without_interval(printed):
    text = printed(100)
    nan = math.nan
    console.print_comparison("a", "b", Comparison(0.1, (nan, nan), "m", nan, "t", 1, 0))
    assert "no interval (m); no p-value (t)" in text()
    assert "nan" not in text()


def record(**data):
    quality = [{"kind": "no_label", "meaning": "sequences without a label", "count": 5,
                "examples": ["a", "b", "c", "d"]}]  # fmt: skip
    data = {"images_found": 9, "selected": 9, "synthetic": False, "quality": quality, **data}
    return {"data": data, "counts": {"ok": 9}}


def test_quality_issues_are_counted(printed):
    text = printed(80)
    console.print_extract(record(), Path("out"))
    assert "5 × sequences without a label (a, b, c …)" in text()
    assert "sizes" not in text()  # not in the record


def test_sizes_and_pixel_formats_are_printed(printed):
    text = printed(80)
    kinds = {"sizes": {"640×490": 5, "640×480": 4}, "modes": {"L": 7, "RGB": 2}}
    console.print_extract(record(**kinds), Path("out"))
    assert "sizes: 640×490 (5), 640×480 (4); pixels: L (7), RGB (2)" in text()


def test_files_of_label_issues_are_shown_as_given(monkeypatch):
    out = StringIO()
    screen = Console(width=200, highlight=False, soft_wrap=True, file=out)
    monkeypatch.setattr(audit_output, "output_console", lambda: screen)
    given_paths.remember(Path("/home/ada/runs/ck"), "runs/ck")
    record = {"issues": 0, "predicted": 9, "experiment": "svm-linear", "accuracy": 0.7,
              "pairs": [], "top": [], "conflicts": [], "csv": None, "report": None,
              "table": "/home/ada/runs/ck/label_issues.parquet"}  # fmt: skip
    audit_output.print_label_issues(record)
    assert "table: runs/ck/label_issues.parquet\n" in out.getvalue()


def test_missing_permission_is_a_message(capsys):
    with pytest.raises(SystemExit) as ended, errors_as_messages():
        raise PermissionError(errno.EACCES, "Permission denied", "/data/labels.csv")
    assert ended.value.code == 2
    assert capsys.readouterr().err.startswith("fer-ray: /data/labels.csv: permission denied.")


def test_models_of_a_search_are_explained(printed):
    text = printed(120)
    row = {"trial": 1, "classifier": "lda", "feature_set": "hog", "inner_accuracy": 0.9,
           "parameters": {"mirror": 1.0}}  # fmt: skip
    console.print_chosen([row])
    explanation, heads, cells = text().splitlines()
    assert "within its training part" in explanation
    assert heads.endswith("cross-validated accuracy")
    assert cells.split() == ["1", "lda", "hog", "mirror=1", "0.9000"]
