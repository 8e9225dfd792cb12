import json
import shutil
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from fer_ray.cli.main import cli
from fer_ray.errors import UserError
from fer_ray.sweep.diff import compare_runs
from fer_ray.sweep.verify import verify_store
from tests.sweep.conftest import Swept, tiny_image


def called(*arguments: object) -> Result:
    return CliRunner().invoke(cli, [str(one) for one in arguments])


def test_a_plan_tells_what_there_is_to_do_and_changes_nothing(source: Path, store: Path) -> None:
    options = ("--source", source, "--store", store, "--profile", "fast", "--workers", 2, "--json")
    done = called("plan", *options)
    assert done.exit_code == 0, done.output
    told = json.loads(done.stdout)
    assert told["planned"]["new"]["images"] == told["images_to_do"] == 7
    assert told["planned"]["new"]["bytes"] == sum(
        file.stat().st_size for file in source.rglob("*") if file.suffix in (".png", ".jpg")
    )
    assert told["probe"]["images"] >= 4
    assert told["core_hours"] == pytest.approx(
        7 * told["probe"]["seconds_an_image"] / 3600, abs=1e-4
    )
    assert not store.exists()


def test_a_store_is_verified_by_computing_a_sample_anew(
    swept: Swept, source: Path, store: Path
) -> None:
    swept()
    tiny_image(source / "noise.png", seed=5)
    found = verify_store(str(store), sample=50, seed=0)
    assert found["sampled"] == 7
    assert found["same"] == 6
    assert found["changed_since"] == 1
    assert found["differing"] == []
    assert found["recipe_here"] is True


def test_a_row_that_is_not_what_its_image_gives_is_found(
    swept: Swept, source: Path, store: Path
) -> None:
    from deltalake import DeltaTable

    swept()
    DeltaTable(str(store / "results")).update({"mode": "'CMYK'"}, predicate="status = 'ok'")
    done = called("verify", store, "--json")
    assert done.exit_code == 1
    found = json.loads(done.stdout)
    assert len(found["differing"]) == 5  # four faces, one of them twice
    assert {tuple(one["columns"]) for one in found["differing"]} == {("mode",)}


def test_two_sweeps_are_held_against_each_other(
    swept: Swept, source: Path, store: Path, faces: list[Path]
) -> None:
    first = swept()
    (source / "noise.png").unlink()
    shutil.copy(faces[3], source / "day0" / "face0.png")
    shutil.copy(faces[3], source / "broken.jpg")
    second = swept()
    found = compare_runs(f"{store}@{first['sweep']}", f"{store}@{second['sweep']}")
    assert found["images"] == [7, 6]
    differing = {kind: one["examples"] for kind, one in found["differing"].items()}
    assert differing == {
        "only_in_a": ["noise.png"],
        "content": ["broken.jpg", "day0/face0.png"],
        "status": ["broken.jpg"],
    }
    assert found["statuses"] == [{"a": "unreadable", "b": "ok", "images": 1}]
    assert not compare_runs(str(store), f"{store}@{second['sweep']}")["differing"]


def test_a_sweep_gives_what_extraction_gives(
    swept: Swept, source: Path, store: Path, tmp_path: Path
) -> None:
    from fer_ray.config import Execution
    from fer_ray.extract import extract, plan
    from tests.sweep.conftest import FAST

    swept()
    out = tmp_path / "run"
    every = FAST.selection.model_copy(update={"frames": "all"})
    planned = plan(source, out, FAST.model_copy(update={"selection": every}), fresh=False)
    extract(planned, out, Execution(workers=2), lambda _: None)
    found = compare_runs(str(out), str(store))
    assert found["in_both"] == 7
    assert found["differing"] == {}


def test_what_is_no_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="neither a run folder nor a store"):
        compare_runs(str(tmp_path / "one"), str(tmp_path / "two"))
    with pytest.raises(UserError, match="no finished sweep"):
        verify_store(str(tmp_path), sample=1, seed=0)
