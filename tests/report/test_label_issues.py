import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from fer_ray.sources.label_files import read_label_file
from fer_ray.sources.quality import Quality
from tests.conftest import run_in_process
from tests.report.conftest import BuiltRun

EXPERIMENT = "svm-linear-reference-subject-10fold"


def label_issues(*words: object) -> dict[str, Any]:
    done = run_in_process("label-issues", *words, "--json")
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def give_same_content(run_dir: Path, first: int, second: int) -> list[str]:
    """Give two images the same file hash; their names."""
    file = run_dir / "frames" / "part-0.parquet"
    table = pq.read_table(file)
    hashes = table["sha256"].to_pylist()
    hashes[second] = hashes[first]
    column = table.column_names.index("sha256")
    pq.write_table(
        table.set_column(column, table.schema.field(column), pa.array(hashes, pa.string())), file
    )
    return [table["image_id"][row].as_py() for row in (first, second)]


def test_label_issues_in_table_csv_and_report(build_run: Callable[..., BuiltRun]) -> None:
    built = build_run(experiments=(("svm-linear", "subject-10fold", 0.85),))
    twins = give_same_content(built.run_dir, 3, 4)  # neutral and another emotion
    file = built.source_root / "corrected.csv"
    record = label_issues("--out", built.run_dir, "--csv", file)
    predictions = pd.read_parquet(built.run_dir / "predictions" / f"{EXPERIMENT}.parquet")
    wrong = set(predictions.loc[predictions["label"] != predictions["predicted"], "image_id"])
    table = pd.read_parquet(built.run_dir / "label_issues.parquet")
    flagged = table[table["rank"].notna()]
    assert 0 < len(flagged) <= len(wrong)
    assert set(flagged["image_id"]) <= wrong
    assert flagged["rank"].tolist() == list(range(1, 1 + len(flagged)))
    assert (flagged["p_suggested"] > flagged["p_emotion"]).all()
    assert record["experiment"] == EXPERIMENT
    assert record["issues"] == len(flagged) == sum(pair["images"] for pair in record["pairs"])
    assert [(one["kind"], sorted(one["images"])) for one in record["conflicts"]] == [
        ("content", sorted(twins))
    ]
    labels = read_label_file(file, Quality())  # a source again, next to the images
    assert list(labels)[: len(flagged)] == flagged["path"].tolist()
    assert {path: label.emotion for path, label in labels.items()} == dict(
        zip(table["path"], table["emotion"], strict=True)
    )
    page = (built.run_dir / "report" / "index.html").read_text()
    assert "Labels that look wrong" in page
    assert "One picture under several labels" in page
    section = page.split('id="labels"')[1].split("</section>")[0]
    assert "data:image" not in section
    label_issues("--out", built.run_dir, "--show-faces")
    page = (built.run_dir / "report" / "index.html").read_text()
    assert page.split('id="labels"')[1].split("</section>")[0].count("Face of") == len(flagged)


def test_label_issues_without_trials(build_run: Callable[..., BuiltRun]) -> None:
    done = run_in_process("label-issues", "--out", build_run(experiments=()).run_dir)
    assert done.returncode == 2
    assert "fer-ray trials" in done.stderr
