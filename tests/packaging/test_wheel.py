"""What the wheel contains."""

import ast
import email.message
import email.parser
import sys
import zipfile
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

import fer_ray
from tests.conftest import REPO

PACKAGE = REPO / "fer_ray"
UNLISTED = {"dlib": "dlib-bin"}  # modules that the metadata of their distribution does not list
# Modules of libraries that come with a declared one: ray[default], jinja2 and ray[tune].
INDIRECT = {"grpcio", "markupsafe", "tensorboardx"}


@pytest.fixture(scope="module")
def contents(wheel: Path) -> dict[str, bytes]:
    """The files of the wheel by name."""
    with zipfile.ZipFile(wheel) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


@pytest.fixture(scope="module")
def metadata(contents: dict[str, bytes]) -> email.message.Message:
    """The wheel's METADATA."""
    text = contents[dist_info("METADATA")].decode()
    return email.parser.Parser().parsestr(text)


def dist_info(name: str) -> str:
    return f"fer_ray-{fer_ray.__version__}.dist-info/{name}"


def test_wheel_contains_every_file_of_the_package(contents: dict[str, bytes]) -> None:
    files = {
        file.relative_to(REPO).as_posix()
        for file in PACKAGE.rglob("*")
        if file.is_file() and "__pycache__" not in file.parts
    }
    assert {name for name in contents if name.startswith("fer_ray/")} == files
    assert "fer_ray/py.typed" in files
    assert any(name.startswith("fer_ray/report/templates/") for name in files)


def test_wheel_contains_no_other_files(contents: dict[str, bytes]) -> None:
    top = {name.split("/")[0] for name in contents}
    assert top == {"fer_ray", dist_info("").rstrip("/")}
    assert dist_info("licenses/LICENSE") in contents


def test_metadata_is_complete(metadata: email.message.Message) -> None:
    assert metadata["Name"] == "fer_ray"
    assert metadata["Version"] == fer_ray.__version__
    assert metadata["License-Expression"] == "MIT"
    for field in ("Summary", "Author", "Keywords", "Classifier", "Requires-Python"):
        assert metadata[field], field
    assert str(metadata.get_payload()).startswith("# ")  # the README


def test_plain_install_includes_dlib(metadata: email.message.Message) -> None:
    assert "dlib-bin>=20" in metadata.get_all("Requires-Dist", [])


def test_imported_libraries_are_dependencies(metadata: email.message.Message) -> None:
    requirements = [Requirement(text) for text in metadata.get_all("Requires-Dist", [])]
    extras = ({"extra": ""}, {"extra": "mlflow"})  # that of an option, which says how to install it
    declared = {
        canonicalize_name(item.name)
        for item in requirements
        if item.marker is None or any(item.marker.evaluate(extra) for extra in extras)
    }
    distributions = packages_distributions()
    missing = {
        module
        for module in imported_modules()
        if not {
            canonicalize_name(name)
            for name in [UNLISTED.get(module), *distributions.get(module, [])]
            if name
        }
        & (declared | INDIRECT)
    }
    assert not missing


def imported_modules() -> set[str]:
    """Top-level names of all third-party modules that the package imports, anywhere."""
    names = set()
    for file in PACKAGE.rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                names |= {alias.name for alias in node.names}
            elif isinstance(node, ast.ImportFrom):
                names.add(node.module or "")
    return {name.split(".")[0] for name in names} - sys.stdlib_module_names - {"fer_ray"}


def test_wheel_installs_the_command(contents: dict[str, bytes]) -> None:
    assert b"fer-ray = fer_ray.cli.main:main" in contents[dist_info("entry_points.txt")]
