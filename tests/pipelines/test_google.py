"""Images, run folder, bundle and predictions in Google Cloud Storage: its XML protocol on loopback.

Stores of sweeps are not tested, since they use both of Google's protocols.
"""

from collections.abc import Iterator
from pathlib import Path

import pytest

from fer_ray.storage.objects.object_path import ObjectPath
from fer_ray.storage.parquet import read_table
from tests.conftest import FerRay
from tests.object_store import forget_server, upload
from tests.pipelines.google_xml import google_environment

pytestmark = [pytest.mark.thorough, pytest.mark.slow, pytest.mark.timeout(900)]

FAST = ("--profile", "fast")


@pytest.fixture
def bucket(corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ObjectPath]:
    """A bucket with the images of the synthetic corpus in `ck`."""
    with google_environment(tmp_path) as variables:
        for name, value in variables.items():
            monkeypatch.setenv(name, value)
        forget_server()
        upload(corpus, ObjectPath("gs://fer/ck"))
        yield ObjectPath("gs://fer")
        forget_server()


def test_google_equals_a_disk(
    bucket: ObjectPath, corpus: Path, tmp_path: Path, fer_ray: FerRay
) -> None:
    photos = tmp_path / "photos"
    photos.mkdir()
    for file in sorted(corpus.rglob("*.png"))[:12]:
        (photos / file.name).write_bytes(file.read_bytes())
    for source, base in ((bucket / "ck", bucket), (corpus, tmp_path)):
        commands = (
            ("run", "--data", source, "--out", base / "run", *FAST, "--trials", 2),
            ("bundle", "--out", base / "run", "--to", base / "model"),
            ("predict", base / "model", photos, "--out", base / "predicted"),
        )
        for command in commands:
            done = fer_ray(*command)
            assert done.returncode == 0, done.stderr
    assert read_table(bucket / "run" / "frames").equals(read_table(tmp_path / "run" / "frames"))
    names = ["image_id", "predicted", "p_happy", "landmarks_xy"]
    there, here = (
        read_table(base / "predicted" / "predictions", columns=names) for base in (bucket, tmp_path)
    )
    assert there.num_rows == 12
    assert there.equals(here)
    again = ("run", "--data", bucket / "ck", "--out", bucket / "run", *FAST, "--trials", 2)
    assert "already finished" in fer_ray(*again).stdout
