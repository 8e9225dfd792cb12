import ast
import subprocess
import sys
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parent.parent / "fer_ray"
MAY_IMPORT_RAY = {
    *("runtime.py", "placement.py", "pipeline.py", "learn/search.py", "doctor.py"),
    *("deep/pipeline.py", "learn/race.py", "sweep/pool.py", "sweep/metrics.py"),
    "signals.py",  # one function of Ray, while it starts
}
HEAVY = {"ray", "tensorflow", "keras", "dlib", "cv2", "sklearn", "pandas", "pyarrow", "matplotlib",
         "deltalake", "duckdb"}  # fmt: skip


def loaded_by(code: str) -> set[str]:
    program = f"{code}\nimport sys; print(' '.join(name.split('.')[0] for name in sys.modules))"
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    return set(done.stdout.splitlines()[-1].split())


@pytest.mark.parametrize("code", ["import fer_ray", "import fer_ray.cli.main"])
def test_importing_the_package_loads_no_heavy_library(code: str) -> None:
    assert not loaded_by(code) & HEAVY


def test_help_loads_no_heavy_library() -> None:
    code = "from fer_ray.cli.main import cli; cli(['run', '--help'], standalone_mode=False)"
    assert not loaded_by(code) & HEAVY


def test_contracts_load_neither_dlib_nor_ray() -> None:
    assert not loaded_by("import fer_ray.schemas") & (HEAVY - {"pyarrow"})


def imports_ray(file: Path) -> bool:
    names = set()
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            names.add(node.module or "")
    return any(name.split(".")[0] == "ray" for name in names)


def test_ray_is_imported_only_where_the_house_rules_allow() -> None:
    users = {
        file.relative_to(PACKAGE).as_posix() for file in PACKAGE.rglob("*.py") if imports_ray(file)
    }
    assert users <= MAY_IMPORT_RAY
    assert "pipeline.py" in users
