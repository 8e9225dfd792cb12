"""The claims of docs/security.md that no other test covers."""

import ast
import os
import stat
from pathlib import Path

import pytest

from fer_ray.errors import UserError
from fer_ray.execution.cluster import authentication

PACKAGE = Path(__file__).parent.parent.parent / "fer_ray"
SOURCES = [*PACKAGE.rglob("*.py"), *(PACKAGE.parent / "jobs").glob("*.py")]
UNPICKLERS = {"pickle", "cloudpickle", "dill", "joblib", "marshal", "shelve"}
EVALUATORS = {"eval", "exec", "compile"}
# A worker and its child process exchange pickled messages through pipes.
MAY_UNPICKLE = [PACKAGE / "execution" / name for name in ("guard_process.py", "pipe_messages.py")]


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty home folder, and no environment variables about a cluster."""
    for name in ("RAY_ADDRESS", "RAY_AUTH_MODE", "RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH"):
        monkeypatch.setenv(name, "")  # so that pytest restores it after the test
        monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path))
    return tmp_path


def mode_of(file: Path) -> int:
    return stat.S_IMODE(file.stat().st_mode)


def test_new_token_is_private(home: Path) -> None:
    authentication.prepare_token()
    token = home / ".ray" / "auth_token"
    assert mode_of(token) == 0o600
    assert len(token.read_text()) == 64
    first = token.read_text()
    authentication.prepare_token()
    assert token.read_text() == first


def test_readable_token_becomes_private(home: Path) -> None:
    token = home / ".ray" / "auth_token"
    token.parent.mkdir()
    token.write_text("existing")
    token.chmod(0o644)
    authentication.prepare_token()
    assert mode_of(token) == 0o600
    assert token.read_text() == "existing"


def test_client_sends_a_token_and_creates_none(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAY_ADDRESS", "192.0.2.1:6379")
    monkeypatch.setenv("RAY_USE_TLS", "1")  # the address is not tried
    authentication.prepare_token()
    assert not (home / ".ray").exists()
    assert "RAY_AUTH_MODE" not in os.environ
    monkeypatch.setenv("RAY_AUTH_TOKEN", "0" * 64)
    authentication.prepare_token()
    assert os.environ["RAY_AUTH_MODE"] == "token"


def test_missing_token_file_is_reported(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAY_AUTH_TOKEN_PATH", str(home / "none"))
    with pytest.raises(UserError, match="RAY_AUTH_TOKEN_PATH names"):
        authentication.prepare_token()


@pytest.mark.parametrize("file", SOURCES, ids=lambda file: file.name)
def test_nothing_is_unpickled_or_evaluated(file: Path) -> None:
    unpicklers = UNPICKLERS - {
        "pickle"
    }  # imported only as `pickle`, so that its calls are recognisable
    readers = {"pickle.load", "pickle.loads", "pickle.Unpickler"} - (
        {"pickle.loads"} if file in MAY_UNPICKLE else set()
    )
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            assert not {name.name.split(".")[0] for name in node.names} & unpicklers
            assert not any(name.name == "pickle" and name.asname for name in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert (node.module or "").split(".")[0] not in UNPICKLERS
        elif isinstance(node, ast.Call):
            called = ast.unparse(node.func)
            assert called not in EVALUATORS | readers | {
                "yaml.load",
                "yaml.unsafe_load",
                "yaml.full_load",
            }
            allowed = [word.value for word in node.keywords if word.arg == "allow_pickle"]
            assert all(ast.unparse(value) == "False" for value in allowed)


def test_tables_are_read_in_one_module() -> None:
    readers = {
        file.relative_to(PACKAGE).as_posix()
        for file in SOURCES
        if "pq.read_table(" in file.read_text(encoding="utf-8")
    }
    assert readers == {"storage/parquet.py"}
