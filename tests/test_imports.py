"""What importing the package and its light modules loads; import-linter checks the layers."""

import subprocess
import sys

import pytest

HEAVY = {"ray", "tensorflow", "keras", "dlib", "cv2", "sklearn", "pandas", "pyarrow", "matplotlib",
         "deltalake", "duckdb"}  # fmt: skip


def loaded_by(code: str) -> set[str]:
    program = f"{code}\nimport sys; print(' '.join(name.split('.')[0] for name in sys.modules))"
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    return set(done.stdout.splitlines()[-1].split())


@pytest.mark.parametrize(
    "module", ["fer_ray", "fer_ray.cli.main", "fer_ray.execution.guard", "fer_ray.settings.root"]
)
def test_import_loads_no_heavy_library(module: str) -> None:
    assert not loaded_by(f"import {module}") & HEAVY


def test_help_loads_no_heavy_library() -> None:
    code = "from fer_ray.cli.main import cli; cli(['run', '--help'], standalone_mode=False)"
    assert not loaded_by(code) & HEAVY


def test_finished_jobs_load_no_scikit_learn() -> None:
    steps = ("prediction.predict", "run", "run_record", "training.trials")
    code = "import " + ", ".join(f"fer_ray.pipelines.{step}" for step in steps)
    assert not loaded_by(code) & {"ray", "sklearn", "matplotlib"}


def test_schemas_load_pyarrow_only() -> None:
    assert not loaded_by("import fer_ray.schemas") & (HEAVY - {"pyarrow"})
