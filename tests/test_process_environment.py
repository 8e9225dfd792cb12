"""Results do not depend on the environment of the shell."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

import fer_ray
from fer_ray.process_environment import environment_fixed, fixed_environment, import_paths
from tests.patience import patience

FER_RAY = str(Path(sys.executable).with_name("fer-ray"))

# Variables, and files in the current folder.
ENVIRONMENTS: dict[str, tuple[dict[str, str], dict[str, str]]] = {
    "notebook": (
        {"MPLBACKEND": "module://matplotlib_inline.backend_inline"},
        {"matplotlibrc": "text.usetex: True\nfont.size: 30\naxes.xmargin: 0.4\n"},
    ),
    "arithmetic": (
        {
            "OPENCV_IO_MAX_IMAGE_PIXELS": "1000",
            "OPENCV_OPENCL_RUNTIME": "none",
            "OMP_NUM_THREADS": "3",
            "SCIPY_ARRAY_API": "1",
            "SKLEARN_ASSUME_FINITE": "1",
        },
        {},
    ),
    "language": (
        {
            "LC_ALL": "C",
            "PYTHONUTF8": "0",
            "PYTHONCOERCECLOCALE": "0",
            "PYTHONWARNINGS": "error",
            "PYTHONHASHSEED": "7",
            "TZ": "Asia/Kathmandu",
        },
        {"random.py": "raise SystemExit('a file of the current folder was imported')\n"},
    ),
}


def run_results(
    corpus: Path, folder: Path, variables: Mapping[str, str], files: Mapping[str, str]
) -> dict[str, Any]:
    """Results of a run in an environment."""
    folder.mkdir()
    for name, content in files.items():
        (folder / name).write_text(content)
    done = subprocess.run(
        [FER_RAY, "run", "--data", corpus, "--out", "rün", "--profile", "fast"],
        cwd=folder, env={**os.environ, **variables}, capture_output=True,
        timeout=patience(240), check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return read_results(folder / "rün")


def read_results(out: Path) -> dict[str, Any]:
    """Rows, trials and figures of a run folder."""
    trials = [pq.read_table(file).drop_columns("seconds") for file in sorted(out.glob("trials/*"))]
    return {
        "rows": pq.read_table(out / "frames").to_pylist(),
        "trials": [table.to_pylist() for table in trials],
        "figures": {file.name: file.read_bytes() for file in out.glob("report/**/*.png")},
    }


def combined() -> tuple[dict[str, str], dict[str, str]]:
    variables, files = dict[str, str](), dict[str, str]()
    for some_variables, some_files in ENVIRONMENTS.values():
        variables |= some_variables
        files |= some_files
    return variables, files


@pytest.mark.thorough
@pytest.mark.slow
def test_results_are_equal_in_each_environment(corpus: Path, run_dir: Path, tmp_path: Path) -> None:
    expected = read_results(run_dir)
    assert expected["figures"]
    assert run_results(corpus, tmp_path / "shell", *combined()) == expected


@pytest.mark.thorough
@pytest.mark.parametrize("name", ENVIRONMENTS)
def test_results_are_equal_in_an_environment(
    name: str, corpus: Path, run_dir: Path, tmp_path: Path
) -> None:
    found = run_results(corpus, tmp_path / "shell", *ENVIRONMENTS[name])
    assert found == read_results(run_dir)


def test_environment_of_a_program_is_restored(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MPLBACKEND", "svg")
    monkeypatch.setenv("OPENCV_IO_MAX_IMAGE_PIXELS", "1")
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    before = dict(os.environ)
    with environment_fixed():
        assert os.environ["MPLBACKEND"] == "agg"
        assert "OPENCV_IO_MAX_IMAGE_PIXELS" not in os.environ
    assert dict(os.environ) == before


def test_current_folder_does_not_replace_libraries(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "path", [str(tmp_path), "", "/usr/lib/python3"])
    monkeypatch.chdir(tmp_path)
    assert import_paths() == ["/usr/lib/python3", str(tmp_path)]
    monkeypatch.chdir(Path(fer_ray.__file__).parent.parent)
    monkeypatch.setattr(sys, "path", ["", "/usr/lib/python3"])
    assert import_paths() == [str(Path.cwd()), "/usr/lib/python3"]


KERAS = """
from fer_ray.networks.keras_backend import keras_defaults, load_keras
keras = load_keras(threads=1)
import numpy as np
with keras_defaults():
    model = keras.Sequential([keras.Input((8, 8, 3)), keras.layers.Conv2D(2, 3)])
    model.compile("sgd", "mse")
    history = model.fit(np.ones((2, 8, 8, 3)), np.ones((2, 6, 6, 2)), epochs=3, verbose=0)
    output = model(np.ones((1, 8, 8, 3)))
    print(tuple(output.shape), output.dtype.name, keras.config.epsilon(), len(history.epoch))
"""


def test_environment_may_shrink_while_it_is_copied() -> None:
    class Shrinking(dict[str, str]):
        def __iter__(self) -> Iterator[str]:
            yield from ("HOME", "REMOVED_MEANWHILE")

    copied = fixed_environment(Shrinking(HOME="/home/ada"))
    assert copied["HOME"] == "/home/ada"
    assert "REMOVED_MEANWHILE" not in copied


@pytest.mark.slow
def test_configuration_of_keras_is_not_used(tmp_path: Path) -> None:
    configuration = {"floatx": "float16", "image_data_format": "channels_first", "epsilon": 0.1}
    (tmp_path / "keras.json").write_text(json.dumps(configuration))
    hostile = {"KERAS_HOME": str(tmp_path), "KERAS_MAX_EPOCHS": "1", "KERAS_BACKEND": "tensorflow"}
    done = subprocess.run(
        [sys.executable, "-c", KERAS], env={**os.environ, **hostile}, capture_output=True,
        text=True, timeout=patience(120), check=False,
    )  # fmt: skip
    assert done.stdout == "(1, 6, 6, 2) float32 1e-07 3\n", done.stderr
