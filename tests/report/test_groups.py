import json
import re
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from fer_ray.errors import UserError
from fer_ray.pipelines.audit.compare_groups import find_columns
from fer_ray.settings.extraction import Selection
from fer_ray.sources.datasets.listing import list_source
from tests.conftest import run_in_process
from tests.report.conftest import BuiltRun


def give_attributes(run_dir: Path) -> None:
    """Give each image a site; 24 of 48 images with a face are from each."""
    file = run_dir / "frames" / "part-0.parquet"
    table = pq.read_table(file)
    rows = [[("site", "north" if row < 24 else "south")] for row in range(table.num_rows)]
    column = table.column_names.index("attributes")
    field = table.schema.field(column)
    pq.write_table(table.set_column(column, field, pa.array(rows, field.type)), file)


def test_groups_in_report(build_run: Callable[..., BuiltRun]) -> None:
    built = build_run(experiments=(("svm-linear", "random", 0.8),), subjects_known=False)
    give_attributes(built.run_dir)
    done = run_in_process("report", "--out", built.run_dir, "--groups", "site", "--json")
    assert done.returncode == 0, done.stderr
    table = pd.read_parquet(built.run_dir / "groups.parquet")
    assert table["group"].tolist() == ["north", "south"]
    assert table["images"].sum() <= 48
    record = json.loads((built.run_dir / "groups.json").read_text())
    gap = record["columns"]["site"]["gaps"]["accuracy"]["gap"]
    assert gap == abs(table["accuracy"].diff().iloc[1])
    page = (built.run_dir / "report" / "index.html").read_text()
    assert 'id="groups"' in page
    assert "Gaps by site" in page
    assert json.loads(done.stdout)["groups"] == record["columns"]
    printed = run_in_process("report", "--out", built.run_dir, "--groups", "site").stdout
    for name, images in zip(table["group"], table["images"], strict=True):
        assert f"\n{name}  {images}" in re.sub(" +", "  ", printed)
    assert "accuracy  " in re.sub(" +", "  ", printed.split("gap")[1].lower())
    done = run_in_process("report", "--out", built.run_dir, "--groups", "site,age")
    assert done.returncode == 2
    assert "no column age" in done.stderr


def test_columns_of_groups() -> None:
    attributes = pd.DataFrame({"site": ["Ulm"], "height, cm": ["170"], "age": ["30"]})
    assert find_columns(["age, site", "height, cm", "age"], attributes) == [
        *("age", "site", "height, cm"),
    ]
    refused = {
        "": "names no column",
        "ages": "no column ages with values. Did you mean age?",
        "Emotion": "Emotion is the label column",
        "subject_id": "subject_id is the subject column",
    }
    for given, message in refused.items():
        with pytest.raises(UserError, match=re.escape(message)):
            find_columns([given], attributes)


def test_further_columns_of_a_labels_file(tmp_path: Path) -> None:
    lines = ["path,emotion,person,age,Site", "a.png,happy,ann,31,north", "b.png,anger,bo,,"]
    (tmp_path / "labels.csv").write_text("\n".join(lines))
    for name in "ab":
        (tmp_path / f"{name}.png").write_bytes(b"")
    table = list_source(tmp_path, Selection()).table
    assert table["attributes"].to_pylist() == [[("age", "31"), ("Site", "north")], None]
