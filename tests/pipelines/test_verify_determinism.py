import json
from pathlib import Path

import pyarrow as pa
import pytest

from fer_ray.pipelines.verify_determinism import WAYS, differing, digest
from tests.conftest import FerRay

FRAMES = pa.table({"image_id": ["a", "b"], "x": pa.array([0.1, 0.2], pa.float32())})


def test_a_single_bit_is_a_difference_and_is_named() -> None:
    moved = pa.array([0.1, 0.2000001], pa.float32())
    other = FRAMES.set_column(1, "x", moved)
    assert differing({"frames": FRAMES}, {"frames": other}) == ["frames.x"]
    assert digest([FRAMES]) != digest([other])


def test_how_rows_lie_in_memory_is_no_difference() -> None:
    chunked = pa.concat_tables([FRAMES.slice(0, 1), FRAMES.slice(1)])
    assert differing({"frames": FRAMES}, {"frames": chunked}) == []
    assert digest([FRAMES]) == digest([chunked])


def test_other_types_and_tables_that_are_missing_are_differences() -> None:
    wider = FRAMES.set_column(1, "x", FRAMES["x"].cast(pa.float64()))
    assert differing({"frames": FRAMES}, {"frames": wider}) == ["frames.x"]
    found = differing({"frames": FRAMES, "trials": FRAMES}, {"frames": FRAMES})
    assert found == ["trials: is there only once"]


@pytest.mark.slow
@pytest.mark.thorough
def test_rows_and_figures_are_the_same_in_every_way(
    corpus: Path, fer_ray: FerRay, tmp_path: Path
) -> None:
    quick = ("--set", "profile=fast", "--set", "trials.n_trials=2")
    sets = ("--set", "extract.features.sets=[reference,hog]")
    done = fer_ray(
        "verify-determinism", "--data", corpus, "--out", tmp_path, "--json", *quick, *sets
    )
    assert done.returncode == 0, done.stderr + done.stdout
    outcomes = json.loads(done.stdout)
    assert [one["way"]["workers"] for one in outcomes] == [way.workers for way in WAYS]
    assert len({(one["rows"], one["figures"]) for one in outcomes}) == 1
    assert outcomes[0]["figures"] is not None
    assert not any(one["differing"] for one in outcomes)
