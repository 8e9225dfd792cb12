"""`fer-ray quickstart`: the corpus, the run, and the three lines at its end."""

from pathlib import Path

import pytest

from tests.conftest import FerRay, run_in_process


def test_quickstart_never_overwrites_a_folder(tmp_path: Path) -> None:
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "face.jpg").write_bytes(b"mine")
    done = run_in_process("quickstart", "--data", tmp_path / "photos", "--out", tmp_path / "run")
    assert done.returncode != 0
    assert "is not a synthetic corpus. Choose another folder." in done.stderr
    assert (tmp_path / "photos" / "face.jpg").read_bytes() == b"mine"
    assert not (tmp_path / "run").exists()


@pytest.mark.thorough
def test_quickstart_ends_with_verdict_report_and_next_step(tmp_path: Path, fer_ray: FerRay) -> None:
    arguments = ("quickstart", "--data", tmp_path / "corpus", "--out", tmp_path / "run")
    done = fer_ray(*arguments, "--subjects", 12)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    verdict, report, following = done.stdout.splitlines()[-3:]
    assert verdict.startswith("verdict: ")
    assert "synthetic faces" in verdict
    assert report == f"report: {tmp_path / 'run' / 'report' / 'index.html'}"
    assert following.startswith("next: ")
    assert (tmp_path / "run" / "report" / "index.html").is_file()
