"""The names of the public API, and what importing them loads."""

import inspect
import subprocess
import sys

import pytest

import fer_ray as fr

NAMES = {
    *("FaceFeatures", "Model", "Predict", "Run", "UserError", "__version__", "extract_faces"),
    *("generate_corpus", "load_model", "open_run", "predict", "run", "sweep", "train"),
}


def test_public_names() -> None:
    assert set(fr.__all__) == NAMES
    assert set(dir(fr)) >= NAMES
    assert [name for name in fr.__all__ if not getattr(fr, name).__doc__] == []


def test_unknown_name() -> None:
    with pytest.raises(AttributeError, match="has no attribute 'nonsense'"):
        fr.nonsense  # noqa: B018


def test_import_is_fast() -> None:
    code = "import time; t = time.process_time(); import fer_ray; print(time.process_time() - t)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert float(done.stdout) < 0.2


@pytest.mark.parametrize("name", sorted(NAMES - {"__version__", "UserError"}))
def test_parameters_are_documented(name: str) -> None:
    function = getattr(fr, name)
    for parameter in inspect.signature(function).parameters.values():
        if parameter.name not in ("temporary", "options"):
            assert f"{parameter.name}: " in inspect.getdoc(function) or name == "Model"
