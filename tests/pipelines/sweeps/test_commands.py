import json
import shutil
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pytest
from click.testing import CliRunner, Result
from deltalake import write_deltalake

from fer_ray.cli.main import cli
from fer_ray.errors import UserError
from fer_ray.pipelines.audit.diff import compare_runs
from fer_ray.pipelines.audit.verify import verify_store
from tests.conftest import FerRay
from tests.pipelines.sweeps.conftest import Swept, tiny_image


def called(*arguments: object) -> Result:
    return CliRunner().invoke(cli, [str(argument) for argument in arguments])


def test_plan_counts_work_and_changes_nothing(source: Path, store: Path) -> None:
    options = ("--source", source, "--store", store, "--profile", "fast", "--workers", 2, "--json")
    done = called("plan", *options)
    assert done.exit_code == 0, done.output
    estimate = json.loads(done.stdout)
    assert estimate["planned"]["new"]["images"] == estimate["images_to_do"] == 7
    assert estimate["planned"]["new"]["bytes"] == sum(
        file.stat().st_size for file in source.rglob("*") if file.suffix in (".png", ".jpg")
    )
    assert estimate["probe"]["images"] >= 4
    assert estimate["core_hours"] == pytest.approx(
        7 * estimate["probe"]["seconds_an_image"] / 3600, abs=1e-4
    )
    assert not store.exists()


def test_verify_recomputes_a_sample(swept: Swept, source: Path, store: Path) -> None:
    swept()
    tiny_image(source / "noise.png", seed=5)
    outcome = verify_store(str(store), sample=50, seed=0)
    assert outcome["sampled"] == 7
    assert outcome["same"] == 6
    assert outcome["changed_since"] == 1
    assert outcome["differing"] == []
    assert outcome["recipe_here"] is True


def test_verify_finds_a_wrong_row(swept: Swept, source: Path, store: Path) -> None:
    from deltalake import DeltaTable

    swept()
    DeltaTable(str(store / "results")).update({"mode": "'CMYK'"}, predicate="status = 'ok'")
    done = called("verify", store, "--json")
    assert done.exit_code == 1
    outcome = json.loads(done.stdout)
    assert len(outcome["differing"]) == 5  # four faces, one of them twice
    assert {tuple(image["columns"]) for image in outcome["differing"]} == {("mode",)}


def test_diff_of_two_sweeps(swept: Swept, source: Path, store: Path, faces: list[Path]) -> None:
    first = swept()
    (source / "noise.png").unlink()
    shutil.copy(faces[3], source / "day0" / "face0.png")
    shutil.copy(faces[3], source / "broken.jpg")
    second = swept()
    outcome = compare_runs(f"{store}@{first['sweep']}", f"{store}@{second['sweep']}")
    assert outcome["images"] == [7, 6]
    differing = {kind: item["examples"] for kind, item in outcome["differing"].items()}
    assert differing == {
        "only_in_a": ["noise.png"],
        "content": ["broken.jpg", "day0/face0.png"],
        "status": ["broken.jpg"],
    }
    assert outcome["statuses"] == [{"a": "unreadable", "b": "ok", "images": 1}]
    assert not compare_runs(str(store), f"{store}@{second['sweep']}")["differing"]


def test_diff_of_labels_features_and_faces(swept: Swept, source: Path, tmp_path: Path) -> None:
    from deltalake import DeltaTable

    swept()
    store = tmp_path / "store"
    original, changed = tmp_path / "a@b" / "one", tmp_path / "two"
    for target in (original, changed):
        shutil.copytree(store, target)
    assert compare_runs(str(original), str(changed))["differing"] == {}
    images, results = (DeltaTable(str(changed / name)) for name in ("images", "results"))
    images.update({"emotion": "'fear'"}, predicate="path = 'noise.png'")
    results.update({"features_hog": "make_array(1.0)"}, predicate="status = 'ok'")
    outcome = compare_runs(str(original), str(changed))
    assert {kind: item["images"] for kind, item in outcome["differing"].items()} == {
        "labels": 1, "features": 5
    }  # fmt: skip
    assert "features_hog" in outcome["feature_sets"]
    rows = results.to_pyarrow_table()
    another = rows.filter(pc.equal(rows["status"], "ok")).slice(0, 1)
    at = another.column_names.index("face_index")
    second = another.set_column(at, "face_index", pa.array([1], pa.int16()))
    write_deltalake(results, second, mode="append")
    assert compare_runs(str(original), str(changed))["differing"].keys() == {
        *("labels", "faces", "landmarks", "features")
    }


def test_diff_rejects_unfinished_and_unknown_runs(tmp_path: Path) -> None:
    (tmp_path / "run" / "frames").mkdir(parents=True)
    with pytest.raises(UserError, match="has no finished frames"):
        compare_runs(str(tmp_path / "run"), str(tmp_path / "run"))
    with pytest.raises(UserError, match="STORE@SWEEP"):
        compare_runs(f"{tmp_path}@yesterday", str(tmp_path))


def test_verify_of_nothing_fails(
    swept: Swept, source: Path, store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(source.parent)
    swept()
    monkeypatch.chdir("/")  # the store records the absolute path of the source
    assert called("verify", store, "--sample", 2).exit_code == 0
    elsewhere = tmp_path / "elsewhere"
    tiny_image(elsewhere / "a.png", seed=1)
    done = called("verify", store, "--source", elsewhere)
    assert done.exit_code == 1
    assert "No image could be verified" in done.stdout


@pytest.mark.parametrize(
    ("options", "code"),
    [
        (("--workers", 1), 0),
        (("--source", "nowhere"), 5),
        (("--weights", "foo"), 2),
        (("--set", "sweep.nonsense=1"), 2),
    ],
)
def test_json_log_lines(
    options: tuple[object, ...], code: int, source: Path, store: Path, fer_ray: FerRay,
    fer_ray_process: FerRay,
) -> None:  # fmt: skip
    call = fer_ray if code else fer_ray_process  # libraries may write past `sys.stderr`
    common = ("--source", source, "--store", store, "--profile", "fast", "--log-format", "json")
    done = call("sweep", *common, *options)
    assert done.returncode == code, done.stderr
    lines = [json.loads(line) for line in done.stderr.splitlines()]
    assert lines[-1]["exit_code"] == code
    assert done.stdout == ""


def test_model_rejects_extraction_settings(tmp_path: Path) -> None:
    from fer_ray.pipelines.sweeps.planning.prepare import _refuse_extraction_settings
    from fer_ray.settings.root import Settings

    _refuse_extraction_settings(Settings())
    for settings in ({"profile": "fast"}, {"extract": {"crop": {"size_px": 200}}}):
        with pytest.raises(UserError, match="Remove --profile"):
            _refuse_extraction_settings(Settings.model_validate(settings))


def test_plan_counts_retries_and_start(swept: Swept, source: Path, store: Path) -> None:
    swept()
    options = ("--source", source, "--store", store, "--profile", "fast", "--workers", 1, "--json")
    assert json.loads(called("plan", *options).stdout)["images_to_do"] == 0
    estimate = json.loads(called("plan", *options, "--retry", "all").stdout)
    assert (estimate["images_to_do"], estimate["probe"]["images"]) == (1, 1)
    assert estimate["seconds_expected"] >= estimate["seconds_to_start"] > 1
    estimate = json.loads(called("plan", *options, "--check", "content").stdout)
    assert estimate["images_to_do"] == 7


def test_sweep_equals_extraction(swept: Swept, source: Path, store: Path, tmp_path: Path) -> None:
    from fer_ray.pipelines.extraction.extract import extract
    from fer_ray.pipelines.extraction.extraction_plan import plan_extraction
    from fer_ray.settings.root import Execution
    from tests.pipelines.sweeps.conftest import FAST

    swept()
    out = tmp_path / "run"
    every = FAST.selection.model_copy(update={"frames": "all"})
    planned = plan_extraction(
        source, out, FAST.model_copy(update={"selection": every}), fresh=False
    )
    extract(planned, out, Execution(workers=2), lambda _: None)
    outcome = compare_runs(str(out), str(store))
    assert outcome["in_both"] == 7
    assert outcome["differing"] == {}


def test_diff_and_verify_reject_other_folders(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="is not a run"):
        compare_runs(str(tmp_path / "one"), str(tmp_path / "two"))
    with pytest.raises(UserError, match="no finished sweep"):
        verify_store(str(tmp_path), sample=1, seed=0)
