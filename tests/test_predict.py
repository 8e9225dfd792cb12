import json
import shutil
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from fer_ray.bundle.manifest import read_bundle
from fer_ray.bundle.predictor import Predictor
from fer_ray.config import Execution, Selection
from fer_ray.contracts import LISTING_FIELDS, answers_schema
from fer_ray.data.several import list_images
from fer_ray.errors import MismatchError, UserError
from fer_ray.predict import plan, predict
from fer_ray.progress import silent
from tests.conftest import FerRay


@pytest.fixture(scope="module")
def images(corpus: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A few drawn faces in folders named after emotions, and two files that are no faces."""
    root = tmp_path_factory.mktemp("images")
    rows = list_images([corpus], Selection()).table.to_pylist()[:10]
    for row in rows:
        folder = root / row["emotion"]
        folder.mkdir(exist_ok=True)
        shutil.copy(corpus / row["path"], folder / Path(row["path"]).name)
    (root / "happy").mkdir(exist_ok=True)
    (root / "happy" / "broken.png").write_bytes(b"no image")
    (root / "happy" / "empty.png").touch()
    return root


def test_rows_are_the_same_for_any_block_size_and_number_of_workers(
    images: Path, kept_bundle: Path, local_ray: int, tmp_path: Path
) -> None:
    tables = []
    for number, execution in enumerate(
        (Execution(workers=1, block_images=100), Execution(workers=2, block_images=3))
    ):
        out = tmp_path / str(number)
        out.mkdir()
        with silent("predict", "images", 0) as advance:
            predict(plan(kept_bundle, [images], out), out, execution, advance)
        tables.append(pq.read_table(out / "predictions"))
    assert tables[0].equals(tables[1])
    assert tables[0].schema.equals(answers_schema(Predictor(kept_bundle).labels))


def test_the_command_answers_every_image_once_and_goes_on_where_it_was(
    images: Path, kept_bundle: Path, fer_ray: FerRay, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    done = fer_ray("predict", kept_bundle, images, "--out", out, "--json", "--workers", 1)
    assert done.returncode == 0, done.stderr
    record = json.loads(done.stdout)
    rows = pq.read_table(out / "predictions").to_pandas()
    assert record["counts"] == {"ok": 10, "unreadable": 2}
    assert rows["status"].value_counts().to_dict() == record["counts"]
    assert rows["predicted"].notna().sum() == 10 == sum(record["predicted"].values())
    assert rows.loc[rows.status == "ok", "box_xywh"].map(len).eq(4).all()
    assert set(rows["bundle_sha256"]) == {read_bundle(kept_bundle).sha256}
    again = fer_ray("predict", kept_bundle, images, "--out", out, "--json", "--workers", 1)
    assert json.loads(again.stdout)["timings"] == record["timings"]
    (images / "happy" / "another.png").write_bytes(b"none either")
    try:
        other = fer_ray("predict", kept_bundle, images, "--out", out)
    finally:
        (images / "happy" / "another.png").unlink()
    assert other.returncode == 3
    assert "the source has changed since" in other.stderr


def test_another_bundle_does_not_mix_with_what_is_there(
    images: Path, kept_bundle: Path, tmp_path: Path
) -> None:
    made = plan(kept_bundle, [images], tmp_path)
    before = {
        "fingerprint": "of another",
        "source_digest": made.extraction.source_digest,
        "bundle": {"sha256": "of another"},
    }
    (tmp_path / "predictions").mkdir()
    (tmp_path / "predict.json").write_text(json.dumps(before))
    with pytest.raises(MismatchError, match="the model was another bundle"):
        plan(kept_bundle, [images], tmp_path)
    assert plan(kept_bundle, [images], tmp_path, fresh=True).extraction.finished is None


def test_files_and_folders_make_one_listing_without_doubles(images: Path) -> None:
    single = next((images / "neutral").glob("*.png"))
    listing = list_images([single, images / "happy", images], Selection(frames="all"))
    paths = listing.table["path"].to_pylist()
    assert listing.root == images.resolve()
    assert paths == sorted(set(paths)) == listing.table["image_id"].to_pylist()
    assert len(paths) == 12 == listing.summary["selected"]
    labels = dict(zip(paths, listing.table["emotion"].to_pylist(), strict=True))
    assert labels[f"neutral/{single.name}"] == "neutral"
    assert listing.table.schema.names == [field.name for field in LISTING_FIELDS]
    with pytest.raises(UserError, match=r"There is no .*absent"):
        list_images([images / "absent.png"], Selection())


def test_a_single_image_has_no_label(images: Path) -> None:
    single = next((images / "neutral").glob("*.png"))
    listing = list_images([single], Selection(frames="all"))
    assert listing.table.to_pylist()[0]["path"] == single.name
    assert listing.table["label"].null_count == 1
