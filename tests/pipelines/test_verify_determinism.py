import json
from pathlib import Path

import pyarrow as pa
import pytest

from fer_ray.pipelines.audit.verify_determinism import DIVISIONS, differing_columns, digest
from tests.conftest import FerRay

FRAMES = pa.table({"image_id": ["a", "b"], "x": pa.array([0.1, 0.2], pa.float32())})


def test_single_bit_differs() -> None:
    moved = pa.array([0.1, 0.2000001], pa.float32())
    other = FRAMES.set_column(1, "x", moved)
    assert differing_columns({"frames": FRAMES}, {"frames": other}) == ["frames.x"]
    assert digest([FRAMES]) != digest([other])


def test_chunks_do_not_differ() -> None:
    chunked = pa.concat_tables([FRAMES.slice(0, 1), FRAMES.slice(1)])
    assert differing_columns({"frames": FRAMES}, {"frames": chunked}) == []
    assert digest([FRAMES]) == digest([chunked])


def test_types_and_missing_tables_differ() -> None:
    wider = FRAMES.set_column(1, "x", FRAMES["x"].cast(pa.float64()))
    assert differing_columns({"frames": FRAMES}, {"frames": wider}) == ["frames.x"]
    found = differing_columns({"frames": FRAMES, "trials": FRAMES}, {"frames": FRAMES})
    assert found == ["trials: in only one of them"]


@pytest.mark.slow
@pytest.mark.thorough
def test_results_are_identical_for_every_division(
    corpus: Path, fer_ray_process: FerRay, tmp_path: Path
) -> None:
    quick = ("--set", "profile=fast", "--set", "trials.n_trials=2")
    sets = ("--set", "extract.features.sets=[reference,hog]")
    done = fer_ray_process(
        "verify-determinism", "--data", corpus, "--out", tmp_path, "--json", *quick, *sets
    )
    assert done.returncode == 0, done.stderr + done.stdout
    outcomes = json.loads(done.stdout)
    assert [one["division"]["workers"] for one in outcomes] == [
        division.workers for division in DIVISIONS
    ]
    assert len({(one["rows"], one["figures"]) for one in outcomes}) == 1
    assert outcomes[0]["figures"] is not None
    assert not any(one["differing"] for one in outcomes)
