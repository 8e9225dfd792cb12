"""Paths in object stores behave as paths on a disk."""

import os
import pickle
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from fer_ray.errors import StoreLostError, UserError
from fer_ray.storage.files import move
from fer_ray.storage.objects.object_client import open_bucket
from fer_ray.storage.objects.object_path import ObjectPath
from fer_ray.storage.paths import to_path
from tests.pipelines.sweeps.s3 import free_port

NAMES = ("a#b.png", "a b.png", "a%23b.png", "[x].png", "ä/ö.png", "x?y=1.png", "deep/er/c.parquet")


def tree(root: Path) -> list[str]:
    return [path.relative_to(root).as_posix() for path in root.rglob("*") if path.is_file()]


def test_pure_operations() -> None:
    path = ObjectPath("s3://bucket/runs/") / "ck" / "run.json"
    assert str(path) == "s3://bucket/runs/ck/run.json" == path.as_posix()
    assert (path.name, path.stem, str(path.parent)) == ("run.json", "run", "s3://bucket/runs/ck")
    assert str(path.with_name("x")) == "s3://bucket/runs/ck/x"
    assert str(path.relative_to(path.parents[1])) == "ck/run.json"
    assert path.is_relative_to(ObjectPath("s3://bucket"))
    assert not path.is_relative_to(Path("/bucket"))
    assert pickle.loads(pickle.dumps(path)) == path
    assert isinstance(path, Path)


def test_objects_are_never_used_as_local_files(tmp_path: Path) -> None:
    path = ObjectPath("s3://bucket/x")
    for use in (
        lambda: os.fspath(path),
        lambda: open(path),  # noqa: PTH123, SIM115
        path.touch,
        lambda: path.chmod(0o600),
        lambda: path.rename(tmp_path),
    ):
        with pytest.raises(TypeError, match="not a file on this machine"):
            use()


def test_disk_and_bucket_agree(bucket: ObjectPath, tmp_path: Path) -> None:
    for root in (tmp_path, bucket):
        for name in NAMES:
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            (root / name).write_bytes(name.encode())
    assert sorted(tree(bucket)) == sorted(tree(tmp_path)) == sorted(NAMES)
    for name in (*NAMES, "ä", "deep", "deep/er", "deep/e", "none"):
        local, remote = tmp_path / name, bucket / name
        assert (remote.exists(), remote.is_file(), remote.is_dir()) == (
            (local.exists(), local.is_file(), local.is_dir())
        )
        if local.is_file():
            assert remote.read_bytes() == name.encode() == remote.read_text("utf-8").encode()
            assert remote.stat().st_size == local.stat().st_size
            assert abs(remote.stat().st_mtime_ns - local.stat().st_mtime_ns) < 60e9
    for pattern in ("*.png", "[a-d]*", "*"):
        found = [path.name for path in bucket.glob(pattern)]
        assert found == sorted(path.name for path in tmp_path.glob(pattern))
    assert [path.name for path in bucket.rglob("*.parquet")] == ["c.parquet"]


def test_missing_objects(bucket: ObjectPath) -> None:
    none = bucket / "none"
    for read in (none.read_bytes, none.stat, none.unlink, none.read_version):
        with pytest.raises(FileNotFoundError) as raised:
            read()
        assert raised.value.strerror == "No such object"
    none.unlink(missing_ok=True)
    assert list(none.iterdir()) == []


def test_trees_are_removed(bucket: ObjectPath) -> None:
    for name in ("out/a", "out/b/c", "out", "outer"):
        (bucket / name).write_text(name)
    (bucket / "out").remove_tree(keep={bucket / "out/b/c"})
    assert tree(bucket) == ["out/b/c", "outer"]


def test_disk_and_bucket_move_alike(bucket: ObjectPath, tmp_path: Path) -> None:
    for root in (tmp_path, bucket):
        (root / "table").mkdir()
        (root / "table" / "a b.parquet").write_bytes(b"1")
        (root / "table.json").write_bytes(b"2")
        (root / "previous").mkdir()
        for name in ("table", "table.json"):
            move(root / name, root / "previous" / name)
    assert sorted(tree(bucket)) == sorted(tree(tmp_path))
    assert len(tree(bucket)) == 2


def test_ranges_of_a_parquet_file(bucket: ObjectPath) -> None:
    table = pa.table({"n": range(200_000), "text": [f"row {n}" for n in range(200_000)]})
    buffer = pa.BufferOutputStream()
    pq.write_table(table, buffer)
    (bucket / "t.parquet").write_bytes(buffer.getvalue().to_pybytes())
    with (bucket / "t.parquet").open("rb") as content:
        assert pq.read_table(content, columns=["text"]).equals(table.select(["text"]))
    with (bucket / "t.parquet").open("rb") as content:
        assert content.seek(-4, os.SEEK_END) > 0
        assert content.read() == b"PAR1"


def test_conditional_writes(bucket: ObjectPath) -> None:
    file = bucket / "lease"
    first = file.write_new(b"1")
    with pytest.raises(FileExistsError):
        file.write_new(b"2")
    assert file.read_version() == (b"1", first)
    second = file.replace_version(b"2", first)
    with pytest.raises(FileExistsError):
        file.replace_version(b"3", first)
    file.replace_version(b"4", second)
    assert file.read_bytes() == b"4"


def test_missing_bucket_and_server(bucket: ObjectPath, monkeypatch: pytest.MonkeyPatch) -> None:
    other = ObjectPath("s3://no-such-bucket/x")
    for use in (other.read_bytes, other.is_dir, other.exists, lambda: other.write_text("x")):
        with pytest.raises(StoreLostError, match=r"s3://no-such-bucket/x.*bucket does not exist"):
            use()
    monkeypatch.setattr("fer_ray.storage.objects.object_client.RETRIES", 1)
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{free_port()}")
    open_bucket.cache_clear()
    with pytest.raises(StoreLostError, match=r"rerun the same command") as raised:
        (bucket / "x").read_bytes()
    assert len(str(raised.value).splitlines()) == 2


def test_paths_of_users(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", "/home/me")
    assert to_path("runs") == tmp_path / "runs"
    assert to_path("~/runs") == Path("/home/me/runs")
    assert to_path("file:///a%20b/c") == Path("/a b/c")
    for uri in ("s3://b/x", "gs://b/x", "az://c/x", "abfss://c@account.dfs.core.windows.net/x"):
        path = to_path(uri)
        assert isinstance(path, ObjectPath)
        assert str(path) == uri


@pytest.mark.parametrize(
    ("uri", "message"),
    [
        ("ftp://host/x", "use a path, or a URI with one of file://, s3://"),
        ("https://me:HIDDEN@host/x", "https://me@host/x: use a path"),
        ("s3://KEY:HIDDEN@bucket/x", "s3://bucket/x: credentials in a URI are not accepted"),
        ("s3://", "write it as s3://BUCKET/PATH"),
        ("s3://bucket/a/../b", "write it as s3://BUCKET/PATH"),
        ("file://host/x", "names another machine"),
    ],
)
def test_unusable_uris(uri: str, message: str) -> None:
    with pytest.raises(UserError, match=message) as raised:
        to_path(uri)
    assert "HIDDEN" not in str(raised.value)
