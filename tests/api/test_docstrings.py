"""The examples in the docstrings of the public API run."""

import doctest
import importlib
import pkgutil

import pytest

import fer_ray.api

MODULES = [module.name for module in pkgutil.iter_modules(fer_ray.api.__path__)]

pytestmark = pytest.mark.slow


@pytest.mark.usefixtures("workplace")
@pytest.mark.parametrize("name", MODULES)
def test_examples_run(name: str) -> None:
    module = importlib.import_module(f"fer_ray.api.{name}")
    failed, _ = doctest.testmod(module, optionflags=doctest.NORMALIZE_WHITESPACE)
    assert not failed


def test_public_modules_have_examples() -> None:
    finder = doctest.DocTestFinder()
    for name in ("dataset_steps", "jobs", "model_training", "run_results", "trained_model"):
        module = importlib.import_module(f"fer_ray.api.{name}")
        assert sum(len(found.examples) for found in finder.find(module)) >= 3
