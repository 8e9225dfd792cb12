"""Commands whose images, run folder, bundle and models are in a bucket."""

import json
import os
import platform
import random
import shutil
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pyarrow.parquet as pq
import pytest

from fer_ray.errors import SourceLostError, StoreLostError
from fer_ray.execution.progress import silent
from fer_ray.faces.model_paths import landmark_file
from fer_ray.pipelines.run import run_extract
from fer_ray.settings.extraction import Landmarks, Selection
from fer_ray.settings.loading import load_settings
from fer_ray.sources.datasets.listing import list_source
from fer_ray.sources.datasets.several_sources import list_images
from fer_ray.storage.files import read_json
from fer_ray.storage.objects import object_client
from fer_ray.storage.objects.object_path import ObjectPath
from fer_ray.storage.parquet import read_table
from fer_ray.vocabulary import ExitCode
from tests.conftest import FerRay
from tests.object_store import local_bucket, s3_environment, upload
from tests.patience import patience, wait_until
from tests.pipelines.sweeps.clocked_s3 import SKEWED
from tests.pipelines.sweeps.s3 import Faulty, faulty_proxy, free_port

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

FAST = ("--profile", "fast")
ALL_HERE = ("extract.selection.frames=all", "execution.executor=in-process", "profile=fast")
REFUSED = b"<Error><Code>AccessDenied</Code><Message>Access Denied</Message></Error>"


@pytest.fixture(scope="module")
def few(tiny_corpus: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of twelve images."""
    folder = tmp_path_factory.mktemp("few")
    for number, file in enumerate(sorted(tiny_corpus.rglob("*.png"))[::4][:12]):
        shutil.copy(file, folder / f"{number:02d}.png")
    return folder


@pytest.fixture(scope="module")
def server(corpus: Path, few: Path) -> Iterator[int]:
    """The port of a server whose bucket contains the synthetic corpus and a few images."""
    with local_bucket() as (bucket, port):
        upload(corpus, bucket / "ck")
        upload(few, bucket / "few")
        yield port


@pytest.fixture
def bucket(server: int) -> Iterator[ObjectPath]:
    with s3_environment(server):
        yield ObjectPath("s3://fer")


@pytest.fixture(scope="module")
def run(server: int, fer_ray: FerRay) -> ObjectPath:
    """A run folder in the bucket."""
    out = ObjectPath("s3://fer/runs/ck")
    crops = ("--export-crops", "s3://fer/crops")
    done = fer_ray("run", "--data", "s3://fer/ck", "--out", out, *FAST, *crops)
    assert done.returncode == 0, done.stderr
    assert f"report: {out}/report/index.html" in done.stdout
    return out


def frames_of(data: Path, out: Path, *overrides: str) -> Any:
    run_extract(data, out, load_settings(None, (*ALL_HERE, *overrides)), silent)
    return read_table(out / "frames")


def comparable(file: Path) -> Any:
    """A table without the columns that differ between any two runs."""
    table = read_table(file)
    own = [name for name in ("seconds", "fingerprint") if name in table.column_names]
    return table.drop_columns(own)


def test_run_equals_local_run(run: ObjectPath, bucket: ObjectPath, run_dir: Path) -> None:
    assert read_table(run / "frames").equals(read_table(run_dir / "frames"))
    for table in ("trials", "predictions"):
        names = sorted(file.name for file in (run_dir / table).iterdir())
        assert [path.name for path in (run / table).iterdir()] == names
        for name in names:
            assert comparable(run / table / name).equals(comparable(run_dir / table / name))
    assert sorted(path.name for path in run.iterdir()) == sorted(
        path.name for path in run_dir.iterdir() if path.name != ".lock"
    )
    assert (
        len(list((bucket / "crops").rglob("*.png"))) == pq.read_table(run_dir / "frames").num_rows
    )


def test_finished_run_is_not_repeated(run: ObjectPath, bucket: ObjectPath, fer_ray: FerRay) -> None:
    before = (run / "run.json").stat().st_mtime_ns
    again = fer_ray("run", "--data", bucket / "ck", "--out", run, *FAST)
    assert "already finished" in again.stdout, again.stderr
    assert (run / "run.json").stat().st_mtime_ns == before


@pytest.mark.thorough
def test_bundle_predicts_images_of_the_bucket(
    run: ObjectPath, bucket: ObjectPath, run_dir: Path, tmp_path: Path, fer_ray: FerRay
) -> None:
    experiment = ("--experiment", "svm-linear-reference-random")
    saved = fer_ray("bundle", "--out", run, "--to", bucket / "model", *experiment)
    assert saved.returncode == 0, saved.stderr
    assert fer_ray("bundle", "--out", run_dir, "--to", tmp_path / "m", *experiment).returncode == 0
    (bucket / "landmarks.dat").write_bytes(landmark_file(Landmarks()).read_bytes())
    model = ("--landmark-file", bucket / "landmarks.dat", "--sheet")
    images = bucket / "few"
    done = fer_ray("predict", bucket / "model", images, "--out", bucket / "there", *model)
    assert done.returncode == 0, done.stderr
    assert (bucket / "there" / "sheet.png").read_bytes()[1:4] == b"PNG"
    local = fer_ray("predict", tmp_path / "m", images, "--out", tmp_path / "here")
    assert local.returncode == 0, local.stderr
    names = ["image_id", "predicted", "p_happy", "landmarks_xy"]
    there = read_table(bucket / "there" / "predictions", columns=names)
    assert there.equals(read_table(tmp_path / "here" / "predictions", columns=names))


@pytest.mark.thorough
def test_sweep_with_a_bundle_of_the_bucket(
    run: ObjectPath, bucket: ObjectPath, fer_ray: FerRay, fer_ray_process: FerRay
) -> None:
    assert fer_ray("bundle", "--out", run, "--to", bucket / "swept").returncode == 0
    where = ("--source", bucket / "few", "--store", bucket / "store")
    for command in (("sweep", *where), ("verify", where[3])):
        done = fer_ray_process(*command, "--model", bucket / "swept")
        assert done.returncode == 0, done.stderr


@pytest.mark.thorough
def test_other_commands_on_a_bucket(
    run: ObjectPath, bucket: ObjectPath, run_dir: Path, fer_ray: FerRay
) -> None:
    (bucket / "settings.yaml").write_text("trials:\n  n_trials: 2\n")
    folds = bucket / "folds.csv"
    for command in (
        ("trials", "--settings", bucket / "settings.yaml", "--write-folds", folds),
        ("trials", "--folds", folds),
        ("report", "--data", bucket / "ck"),
    ):
        done = fer_ray(command[0], "--out", run, *command[1:])
        assert done.returncode == 0, done.stderr
    same = fer_ray("diff", run, run_dir)
    assert (same.returncode, "No differences" in same.stdout) == (0, True), same.stderr
    checked = fer_ray("doctor", "--no-ray", "--out", bucket / "new")
    assert f"{bucket}/new is writable" in checked.stdout


@pytest.mark.thorough
def test_backbone_and_heads_on_a_bucket(
    run: ObjectPath, bucket: ObjectPath, fer_ray_process: FerRay
) -> None:
    from fer_ray.networks.weights import bundled_dlib_file

    (bucket / "dlib.dat").write_bytes(bundled_dlib_file().read_bytes())
    network = ("--out", run, "--backbone", "dlib_resnet")
    small = ("--trials", 1, "--configs", 2, "--set", "head_search.max_epochs=10")
    few = ("--classifiers", "lda", "--configurations", 1, "--trials", 2)
    for command in (
        ("search", "--out", run, "--feature-sets", "geometry", *few),
        ("bottleneck", *network, "--weights", bucket / "dlib.dat"),
        ("heads", *network, "--trials", 1),
        ("search-heads", *network, *small),
        ("bundle", "--out", run, "--to", bucket / "head", "--experiment",
         "head-default-dlib_resnet-random-n_trials=1"),
        ("predict", bucket / "head", bucket / "few", "--out", bucket / "by-head"),
    ):  # fmt: skip
        done = fer_ray_process(*command)
        assert done.returncode == 0, done.stderr
    record = read_json(run / "bottleneck" / "dlib_resnet.json")
    assert record is not None
    assert record["weights"]["file"] == f"{bucket}/dlib.dat"
    assert list((run / "heads").rglob("events.out.tfevents.*"))


@pytest.mark.parametrize("layout", ["ckplus", "folders", "csv", "images"])
def test_listings_of_disk_and_bucket_agree(
    bucket: ObjectPath, tiny_corpus: Path, tmp_path: Path, layout: str
) -> None:
    tree = tmp_path / layout
    files = sorted(tiny_corpus.rglob("*.png"))[:6]
    if layout == "ckplus":
        shutil.copytree(tiny_corpus, tree)
    for number, file in enumerate(files if layout != "ckplus" else ()):
        folder = ("happy", "anger")[number % 2] if layout == "folders" else f"a b{number % 2}"
        (tree / folder).mkdir(parents=True, exist_ok=True)
        shutil.copy(file, tree / folder / f"é {number}#.png")
    if layout == "csv":
        paths = [path.relative_to(tree).as_posix() for path in sorted(tree.rglob("*.png"))]
        lines = [f"{path},happy" for path in (*paths, "none.png", "../out.png")]
        (tree / "labels.csv").write_text("\n".join(["path,emotion", *lines]))
    (tree / "Thumbs.db").write_bytes(b"")
    upload(tree, bucket / "layouts" / layout)
    (bucket / "layouts" / layout / "folder-marker").write_bytes(b"")
    here, there = (
        list_source(root, Selection(frames="all")) for root in (tree, bucket / "layouts" / layout)
    )
    assert there.summary["layout"] == here.summary["layout"] == layout
    assert there.table.equals(here.table)
    assert there.files()["size"].equals(here.files()["size"])


def test_images_of_one_bucket_given_one_by_one(bucket: ObjectPath) -> None:
    [first, *_, last] = sorted((bucket / "few").rglob("*.png"))
    listing = list_images([first, last, first], Selection(frames="all"))
    assert listing.root.is_relative_to(bucket / "few")
    assert [listing.root / path for path in listing.table["path"].to_pylist()] == [first, last]


def test_file_uris_are_local_paths(tiny_corpus: Path, tmp_path: Path, fer_ray: FerRay) -> None:
    out = tmp_path / "run folder"
    where = ("--data", tiny_corpus.as_uri(), "--out", out.as_uri())
    done = fer_ray("extract", *where, *FAST)
    assert done.returncode == 0, done.stderr
    assert pq.read_table(out / "frames").num_rows


@pytest.mark.thorough
def test_killed_job_resumes(bucket: ObjectPath, few: Path, tmp_path: Path) -> None:
    out = bucket / "runs" / "killed"
    command = [sys.executable, "-m", "fer_ray", "extract", "--data", bucket / "few", "--out", out]
    settings = ["--profile", "fast", "--set", "execution.block_images=1", "--frames", "all"]
    process = subprocess.Popen([*map(str, command), *settings], start_new_session=True)
    partial = out / "frames.partial"
    wait_until(lambda: len(list(partial.rglob("*.parquet"))) >= 2, every=0.05)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait(patience(30))
    stored = len(list(partial.rglob("*.parquet")))
    resumed = frames_of(bucket / "few", out)
    record = read_json(out / "extract.json")
    assert record is not None
    assert record["timings"]["images_done"] <= resumed.num_rows - (stored - 1)
    assert resumed.equals(frames_of(few, tmp_path))
    assert not partial.exists()


@pytest.mark.thorough
def test_busy_store_costs_no_rows(server: int, few: Path, tmp_path: Path, fer_ray: FerRay) -> None:
    out = ObjectPath("s3://fer/runs/busy")
    with faulty_proxy(server, share=0.1, seed=1) as (port, done), s3_environment(port):
        options = ("--frames", "all", "--set", "execution.block_images=1", *FAST)
        extracted = fer_ray("extract", "--data", "s3://fer/few", "--out", out, *options)
        assert extracted.returncode == 0, extracted.stderr
    assert done["refused"] + done["hung"] + done["slow"] >= 3, done
    with s3_environment(server):
        assert read_table(out / "frames").equals(frames_of(few, tmp_path))


class Denied(Faulty):
    """Refuses requests (403) whose method and path are chosen."""

    method, path_part, refusal = "GET", "", REFUSED

    def handle_one(self) -> None:
        if self.command == self.method and self.path_part in self.path:
            self._body()
            self._answer(403, [("Content-Type", "application/xml")], self.refusal)
        else:
            super().handle_one()

    do_GET = do_PUT = do_POST = do_DELETE = do_HEAD = handle_one  # noqa: N815


class _QuietServer(ThreadingHTTPServer):
    """Does not print the connections that clients close."""

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing."""


@contextmanager
def proxy(handler: type[Faulty], upstream: int, **attributes: Any) -> Iterator[type[Faulty]]:
    """Let this process and its children reach a server through a proxy."""
    common = {"upstream": upstream, "share": 0.0, "done": Counter(), "draw": random.Random(0)}
    own: type[Faulty] = type("Handler", (handler,), {**common, **attributes})
    server = _QuietServer(("127.0.0.1", 0), own)
    Thread(target=server.serve_forever, daemon=True).start()
    with s3_environment(server.server_port):
        yield own
    server.shutdown()
    server.server_close()


@pytest.fixture
def denied(server: int, request: pytest.FixtureRequest) -> Iterator[None]:
    """Refuse requests of a method whose path contains a text."""
    method, part = request.param
    with proxy(Denied, server, method=method, path_part=part):
        yield


@pytest.mark.parametrize(
    ("denied", "code"),
    [
        (("PUT", "frames.partial"), ExitCode.STORE_LOST),
        (("GET", "prefix=few"), ExitCode.SOURCE_LOST),
        (("PUT", ".lease"), ExitCode.STORE_LOST),
    ],
    indirect=["denied"],
)
def test_refused_requests_end_in_one_message(denied: None, code: ExitCode, fer_ray: FerRay) -> None:
    where = ("--data", "s3://fer/few", "--out", f"s3://fer/runs/denied-{int(code)}")
    done = fer_ray("extract", *where, *FAST)
    assert done.returncode == code, done.stderr
    assert "403 Forbidden (AccessDenied)" in done.stderr
    assert "Finished work is stored" in done.stderr
    assert "Traceback" not in done.stderr


def test_wrong_clock_is_named(server: int) -> None:
    message = f"the clock of host {platform.node()} is wrong"
    with (
        proxy(Denied, server, method="GET", path_part="/few/0", refusal=SKEWED),
        pytest.raises(StoreLostError, match=message),
    ):
        ObjectPath("s3://fer/few/00.png").read_bytes()


@pytest.mark.parametrize("denied", [("GET", "/few/0")], indirect=True)
def test_refused_object_is_a_row(denied: None) -> None:
    rows = frames_of(ObjectPath("s3://fer/few"), ObjectPath("s3://fer/runs/cold")).to_pylist()
    unread = {row["path"] for row in rows if row["status"] == "unreadable"}
    assert unread == {row["path"] for row in rows if row["path"].startswith("0")}
    assert len(unread) == 10
    assert {"403" in row["error"] for row in rows if row["status"] == "unreadable"} == {True}


def test_unreachable_server_is_reported(fer_ray: FerRay, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(object_client, "RETRIES", 1)
    with s3_environment(free_port()):
        done = fer_ray("report", "--out", "s3://fer/run")
        assert (done.returncode, "Traceback" in done.stderr) == (ExitCode.STORE_LOST, False)
        with pytest.raises(SourceLostError):
            list_source(ObjectPath("s3://fer/few"), Selection(frames="all"))


class Failing(Faulty):
    """Closes all connections without an answer from some moment on."""

    down = False

    def handle_one(self) -> None:
        if self.down:
            self._body()
            self.close_connection = True
        else:
            super().handle_one()

    do_GET = do_PUT = do_POST = do_DELETE = do_HEAD = handle_one  # noqa: N815


@pytest.mark.thorough
def test_store_lost_while_images_are_read(server: int, bucket: ObjectPath) -> None:
    out = bucket / "runs" / "lost"
    command = [sys.executable, "-m", "fer_ray", "extract", "--data", bucket / "few", "--out", out]
    settings = ["--profile", "fast", "--frames", "all", "--set", "execution.block_images=1"]
    with proxy(Failing, server) as handler:
        process = subprocess.Popen([*map(str, command), *settings], stderr=-1, text=True)
        wait_until(lambda: len(list((out / "frames.partial").rglob("*.parquet"))) >= 2, every=0.05)
        handler.down = True  # type: ignore[attr-defined]
        _, said = process.communicate(timeout=patience(400))
    assert process.returncode in (ExitCode.SOURCE_LOST, ExitCode.STORE_LOST), said
    assert "Traceback" not in said
    stored = len(list((out / "frames.partial").rglob("*.parquet")))
    frames_of(bucket / "few", out)
    record = json.loads((out / "extract.json").read_text())
    assert record["timings"]["images_done"] <= record["data"]["selected"] - (stored - 1)
