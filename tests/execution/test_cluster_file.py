"""Checks of a file for `ray up`."""

import re
from pathlib import Path

import pytest

from fer_ray.errors import UserError
from fer_ray.execution.cluster.cluster_file import check_cluster_file, find_placeholders

REPO = Path(__file__).parent.parent.parent


@pytest.fixture
def own_values(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(REPO)
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / ".ray").mkdir()
    (tmp_path / ".ray" / "auth_token").write_text("0" * 32)
    text = (REPO / "cluster.yaml").read_text(encoding="utf-8")
    file = tmp_path / "cluster.yaml"
    file.write_text(re.sub(r"-0{16}\d", "-0123456789abcdef0", text))
    return file


@pytest.mark.parametrize("name", ["cluster.yaml", "deploy/cluster-onprem.yaml"])
def test_every_placeholder_is_found(name: str) -> None:
    text = (REPO / name).read_text(encoding="utf-8")
    marked = {n for n, line in enumerate(text.splitlines(), 1) if line.endswith("# yours")}
    found = {number for number, _ in find_placeholders(text)}
    plausible = {n for n in marked if "IamInstanceProfile" in text.splitlines()[n - 1]
                 or "ssh_user" in text.splitlines()[n - 1]}  # fmt: skip
    assert found
    assert marked - plausible <= found
    with pytest.raises(UserError, match=f"line {min(found)}: "):
        check_cluster_file(REPO / name)


def test_complete_file(own_values: Path) -> None:
    assert check_cluster_file(own_values) == "fer-ray: a head node and up to 24 workers"


@pytest.mark.parametrize(
    ("wrong", "right", "message"),
    [
        ("cluster_nam:", "cluster_name:", "'cluster_nam' was unexpected"),
        ("[", "cluster_name:", "is not a YAML file"),
        (": no-such-folder", ": fer_ray", "files that do not exist: no-such-folder"),
    ],
)
def test_wrong_file(own_values: Path, wrong: str, right: str, message: str) -> None:
    own_values.write_text(own_values.read_text().replace(right, wrong, 1))
    with pytest.raises(UserError, match=re.escape(message)):
        check_cluster_file(own_values)


def test_missing_token(own_values: Path) -> None:
    (own_values.parent / ".ray" / "auth_token").unlink()
    with pytest.raises(UserError, match="ray get-auth-token --generate"):
        check_cluster_file(own_values)


def test_missing_ssh_key_is_named(own_values: Path) -> None:
    text = own_values.read_text(encoding="utf-8")
    key = own_values.with_name("key")
    own_values.write_text(text.replace("auth:\n", f"auth:\n  ssh_private_key: {key}\n"))
    with pytest.raises(UserError, match=r"ssh_private_key of .* which is not a file"):
        check_cluster_file(own_values)
    key.touch()
    assert "up to 24 workers" in check_cluster_file(own_values)
