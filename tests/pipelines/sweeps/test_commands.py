import json
import shutil
import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pytest
from click.testing import CliRunner, Result
from deltalake import write_deltalake

from fer_ray.cli.main import cli
from fer_ray.errors import UserError
from fer_ray.pipelines.diff import compare_runs
from fer_ray.pipelines.verify import verify_store
from tests.pipelines.sweeps.conftest import Swept, tiny_image


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


def test_labels_features_and_further_faces_are_held_against_each_other(
    swept: Swept, source: Path, tmp_path: Path
) -> None:
    from deltalake import DeltaTable

    swept()
    store = tmp_path / "store"
    one, two = tmp_path / "a@b" / "one", tmp_path / "two"
    for target in (one, two):
        shutil.copytree(store, target)
    assert compare_runs(str(one), str(two))["differing"] == {}
    images, results = (DeltaTable(str(two / name)) for name in ("images", "results"))
    images.update({"emotion": "'fear'"}, predicate="path = 'noise.png'")
    results.update({"features_hog": "make_array(1.0)"}, predicate="status = 'ok'")
    found = compare_runs(str(one), str(two))
    assert {kind: one["images"] for kind, one in found["differing"].items()} == {
        "labels": 1, "features": 5
    }  # fmt: skip
    assert "features_hog" in found["feature_sets"]
    found = results.to_pyarrow_table()
    another = found.filter(pc.equal(found["status"], "ok")).slice(0, 1)
    at = another.column_names.index("face_index")
    second = another.set_column(at, "face_index", pa.array([1], pa.int16()))
    write_deltalake(results, second, mode="append")
    assert compare_runs(str(one), str(two))["differing"].keys() == {
        *("labels", "faces", "landmarks", "features")
    }


def test_an_unfinished_run_folder_and_an_unknown_sweep_are_told(tmp_path: Path) -> None:
    (tmp_path / "run" / "frames").mkdir(parents=True)
    with pytest.raises(UserError, match="has no finished frames"):
        compare_runs(str(tmp_path / "run"), str(tmp_path / "run"))
    with pytest.raises(UserError, match="STORE@SWEEP"):
        compare_runs(f"{tmp_path}@yesterday", str(tmp_path))


def test_a_verification_that_could_verify_nothing_is_no_success(
    swept: Swept, source: Path, store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(source.parent)
    swept()
    monkeypatch.chdir("/")  # the source is remembered by its whole path
    assert called("verify", store, "--sample", 2).exit_code == 0
    elsewhere = tmp_path / "elsewhere"
    tiny_image(elsewhere / "a.png", seed=1)
    done = called("verify", store, "--source", elsewhere)
    assert done.exit_code == 1
    assert "Nothing was verified" in done.stdout


def test_with_json_logs_every_line_is_json_and_errors_too(source: Path, store: Path) -> None:
    options = ("--store", store, "--profile", "fast", "--log-format", "json")
    command = [sys.executable, "-m", "fer_ray", "sweep", *map(str, options)]
    for asked, code in ((("--source", str(source), "--workers", "1"), 0),
                        (("--source", str(source / "none")), 5),
                        (("--source", str(source), "--weights", "foo"), 2),
                        (("--source", str(source), "--set", "sweep.nonsense=1"), 2)):  # fmt: skip
        done = subprocess.run([*command, *asked], capture_output=True, text=True, check=False)
        assert done.returncode == code, done.stderr
        lines = [json.loads(line) for line in done.stderr.splitlines()]
        assert lines[-1]["exit_code"] == code
        assert done.stdout == ""


def test_settings_of_extraction_beside_a_model_are_refused(tmp_path: Path) -> None:
    from fer_ray.pipelines.sweeps.prepare import _refuse_own_settings
    from fer_ray.settings.root import Settings

    _refuse_own_settings(Settings())
    for asked in ({"profile": "fast"}, {"extract": {"crop": {"size_px": 200}}}):
        with pytest.raises(UserError, match="leave out --profile"):
            _refuse_own_settings(Settings.model_validate(asked))


def test_a_plan_counts_what_is_tried_again_and_the_start(
    swept: Swept, source: Path, store: Path
) -> None:
    swept()
    options = ("--source", source, "--store", store, "--profile", "fast", "--workers", 1, "--json")
    assert json.loads(called("plan", *options).stdout)["images_to_do"] == 0
    told = json.loads(called("plan", *options, "--retry", "all").stdout)
    assert (told["images_to_do"], told["probe"]["images"]) == (1, 1)
    assert told["seconds_expected"] >= told["seconds_to_start"] > 6
    told = json.loads(called("plan", *options, "--check", "content").stdout)
    assert told["images_to_do"] == 7


def test_a_sweep_gives_what_extraction_gives(
    swept: Swept, source: Path, store: Path, tmp_path: Path
) -> None:
    from fer_ray.pipelines.extract import extract, plan
    from fer_ray.settings.root import Execution
    from tests.pipelines.sweeps.conftest import FAST

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
