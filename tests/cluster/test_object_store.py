"""A cluster whose nodes share no folder: images, run folder and models are in a bucket."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from fer_ray.networks.weights import bundled_dlib_file
from fer_ray.storage.objects.object_path import ObjectPath
from fer_ray.storage.parquet import read_table
from tests.cluster.head import Head
from tests.cluster.test_nodes import apart
from tests.conftest import FerRay
from tests.object_store import local_bucket, upload
from tests.patience import patience, wait_until

pytestmark = [pytest.mark.slow, pytest.mark.thorough, pytest.mark.timeout(1200)]

# Nodes have neither the folder of the driver's files nor its cache.
HIDE = (
    'mkdir -p "$HOME/.cache" && mount -t tmpfs none "$0" && mount -t tmpfs none "$HOME/.cache" '
    '&& exec "$@"'
)


@pytest.fixture(scope="module")
def bucket(corpus: Path, tiny_corpus: Path) -> Iterator[ObjectPath]:
    with local_bucket() as (bucket, _):
        upload(corpus, bucket / "ck")
        upload(tiny_corpus, bucket / "tiny")
        (bucket / "dlib.dat").write_bytes(bundled_dlib_file().read_bytes())
        yield bucket


def run(head: Head, scratch: Path, *command: object) -> str:
    driver = head.drive(*command, TMPDIR=str(scratch))
    said, _ = driver.communicate(timeout=patience(400))
    assert driver.returncode == 0, said
    return said


def test_study_without_shared_folders(
    empty_head: Head, bucket: ObjectPath, run_dir: Path, tmp_path: Path, fer_ray: FerRay
) -> None:
    for _ in range(2):
        empty_head.add_node(1, apart(HIDE, tmp_path))
    empty_head.wait_for_nodes(3)
    out, network = bucket / "runs" / "ck", ("--backbone", "dlib_resnet")
    run(empty_head, tmp_path, "run", "--data", bucket / "ck", "--out", out, "--profile", "fast")
    assert read_table(out / "frames").equals(read_table(run_dir / "frames"))
    for table in ("trials", "predictions"):
        for file in (run_dir / table).glob("svm-*-reference-random.parquet"):
            names = [name for name in read_table(file).column_names
                     if name not in ("seconds", "fingerprint")]  # fmt: skip
            assert read_table(out / table / file.name, columns=names).equals(
                read_table(file, columns=names)
            )
    for command in (
        ("bottleneck", "--out", out, *network, "--weights", bucket / "dlib.dat"),
        ("heads", "--out", out, *network, "--trials", 1),
        ("search", "--out", out, "--feature-sets", "geometry", "--classifiers", "lda",
         "--configurations", 1, "--trials", 2),
        ("bundle", "--out", out, "--to", bucket / "model"),
        ("predict", bucket / "model", bucket / "tiny", "--out", bucket / "predicted"),
        ("sweep", "--source", bucket / "tiny", "--store", bucket / "store", "--model",
         bucket / "model"),
        ("report", "--out", out),
    ):  # fmt: skip
        run(empty_head, tmp_path, *command)
    assert not any(tmp_path.iterdir())  # nothing was left outside the bucket


def test_lost_node_and_lost_driver(
    empty_head: Head, bucket: ObjectPath, tiny_frames: Path, tmp_path: Path
) -> None:
    out = bucket / "runs" / "lost"
    job = ("extract", "--data", bucket / "tiny", "--out", out, "--frames", "all",
           "--set", "execution.block_images=1")  # fmt: skip
    first = empty_head.add_node(1, apart(HIDE, tmp_path))
    driver = empty_head.drive(*job)

    def stored() -> int:
        return len(list((out / "frames.partial").rglob("*.parquet")))

    wait_until(lambda: stored() >= 2)
    first.kill()
    empty_head.add_node(1, apart(HIDE, tmp_path))
    before = stored()
    wait_until(lambda: stored() > before + 2)
    driver.kill()
    driver.communicate()
    run(empty_head, tmp_path, *job)
    assert read_table(out / "frames").equals(read_table(tiny_frames))
