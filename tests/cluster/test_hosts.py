"""A cluster of hosts with addresses of their own, which fail or differ while a job runs."""

import shutil
from pathlib import Path

import pytest

from fer_ray.storage.objects.object_path import ObjectPath
from fer_ray.storage.parquet import read_table
from tests.cluster.head import REPO, WATCHFUL
from tests.cluster.host_cluster import SECOND, HostCluster, SecondWorker, open_cluster
from tests.cluster.hosts import Host, missing_for_hosts
from tests.object_store import upload
from tests.patience import patience, wait_until

pytestmark = [
    pytest.mark.slow,
    pytest.mark.thorough,
    pytest.mark.timeout(1800),
    pytest.mark.skipif(missing_for_hosts() is not None, reason=str(missing_for_hosts())),
]


def stored_blocks(out: ObjectPath) -> int:
    return len(list((out / "frames.partial").rglob("*.parquet")))


def job(cluster: HostCluster, corpus: Path) -> tuple[object, ...]:
    """An extraction of a small corpus, one image at a time."""
    upload(corpus, cluster.bucket / "data")
    return ("extract", "--data", cluster.bucket / "data", "--out", cluster.bucket / "run",
            "--frames", "all", "--set", "execution.block_images=1")  # fmt: skip


@pytest.mark.parametrize("down_s", [20, None])
def test_extraction_survives_a_lost_link(
    tiny_corpus: Path, tiny_frames: Path, tmp_path: Path, down_s: float | None
) -> None:
    with open_cluster(tmp_path, variables=WATCHFUL) as cluster:
        out = cluster.bucket / "run"
        driver = cluster.drive(*job(cluster, tiny_corpus))
        wait_until(lambda: stored_blocks(out) >= 2 or driver.poll() is not None)
        if down_s is None:
            cluster.hosts[SECOND].set_link(up=False)
        else:
            cluster.hosts[SECOND].disconnect(down_s)
        said, _ = driver.communicate(timeout=patience(300))
        assert driver.returncode == 0, said
        assert read_table(out / "frames").equals(read_table(tiny_frames))


@pytest.mark.parametrize("cable", [(0.05, 0.0), (0.0, 0.05)], ids=["delay", "loss"])
def test_extraction_over_a_bad_cable(
    tiny_corpus: Path, tiny_frames: Path, tmp_path: Path, cable: tuple[float, float]
) -> None:
    with open_cluster(tmp_path, SecondWorker(cable)) as cluster:
        driver = cluster.drive(*job(cluster, tiny_corpus))
        said, _ = driver.communicate(timeout=patience(300))
        assert driver.returncode == 0, said
        assert read_table(cluster.bucket / "run" / "frames").equals(read_table(tiny_frames))


def test_other_version_is_refused(tiny_corpus: Path, tmp_path: Path) -> None:
    def install_other_version(host: Host) -> None:
        package = REPO / "fer_ray"
        copy = shutil.copytree(package, tmp_path / "fer_ray")
        module = copy / "__init__.py"
        text = module.read_text()
        module.write_text(text.replace('__version__ = "', '__version__ = "9.'))
        host.run("mount", "--bind", str(copy), str(package))

    with open_cluster(tmp_path, SecondWorker(prepare=install_other_version)) as cluster:
        driver = cluster.drive(*job(cluster, tiny_corpus))
        said, _ = driver.communicate(timeout=patience(300))
    assert driver.returncode == 2, said
    assert "Host fer-h3 of the cluster has fer_ray 9." in said
    assert "Traceback" not in said
