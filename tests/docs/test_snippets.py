"""The code on the pages runs, and the commands exist."""

import ast
import importlib.util
import json
import re
import shlex
import shutil
from pathlib import Path
from typing import Any

import click
import pytest
import yaml

from fer_ray.cli.main import cli
from fer_ray.settings.loading import load_settings
from fer_ray.settings.root import Settings
from tests.conftest import REPO, FerRay
from tests.docs.pages import PAGES, Block, blocks, inline_code, names_in, table_rows
from tests.workplace import prepare_workplace

PYTHON = blocks("python")
# Needs weights that are downloaded; only its imports are tested.
DOWNLOADS = [one for one in PYTHON if "find_weights" in one.code]
RUNNABLE = [one for one in PYTHON if one not in DOWNLOADS]


def shell_lines() -> list[tuple[str, str]]:
    """Every line of the shell blocks with its place; continued lines are joined."""
    return [
        (f"{block.page.relative_to(REPO)}:{block.line + number}", line)
        for block in blocks("sh")
        for number, line in enumerate(re.sub(r"\\\n\s*", "", block.code).splitlines())
    ]


def commands() -> dict[str, list[str]]:
    """Arguments of every `fer-ray` command on the pages, jobs included, by place."""
    found = {}
    for place, line in shell_lines():
        words = shlex.split(line, comments=True)
        jobs = [index for index, word in enumerate(words) if word.startswith("jobs/")]
        if words and Path(words[0]).name == "fer-ray":
            found[place] = words[1:]
        elif jobs:
            script = (REPO / words[jobs[0]]).read_text(encoding="utf-8")
            command = script.partition('main(["')[2].partition('"')[0]
            found[place] = [command, *words[jobs[0] + 1 :]]
    return found


COMMANDS = commands()


def parse(arguments: list[str]) -> click.Context:
    """Parse a command line without running it."""
    command = cli.get_command(click.Context(cli), arguments[0])
    assert command is not None, f"fer-ray {arguments[0]} does not exist"
    return command.make_context(arguments[0], arguments[1:])


def test_pages_show_every_command() -> None:
    assert {arguments[0] for arguments in COMMANDS.values()} == set(cli.commands)


@pytest.mark.parametrize("place", COMMANDS)
def test_commands_and_their_options_exist(place: str) -> None:
    parsed = parse(COMMANDS[place])
    load_settings(None, tuple(parsed.params.get("overrides", ())))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_commands_in_the_text_exist(page: Path) -> None:
    for code in inline_code(page):
        program, *words = code.split()
        if not words or words[0].isupper() or words[0].startswith("SECTION"):
            continue  # a placeholder
        if program == "fer-ray":
            assert words[0] in cli.commands
        elif program == "--set":
            load_settings(None, (words[0],))
        elif program == "python" and words[0] == "-m":
            assert importlib.util.find_spec(words[1]) is not None


@pytest.mark.parametrize("block", blocks("yaml"), ids=str)
def test_settings_files_are_valid(block: Block) -> None:
    Settings.model_validate(yaml.safe_load(block.code))


@pytest.fixture(scope="module")
def store(tiny_corpus: Path, fer_ray: FerRay, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The store of a sweep of two images."""
    folder = tmp_path_factory.mktemp("documented")
    (folder / "source").mkdir()
    for file in sorted(tiny_corpus.rglob("*.png"))[:2]:
        shutil.copy(file, folder / "source")
    swept = fer_ray("sweep", "--source", folder / "source", "--store", folder / "store",
                    "--profile", "fast", "--workers", 1)  # fmt: skip
    assert swept.returncode == 0, swept.stderr
    return folder / "store"


@pytest.fixture
def workplace(
    corpus: Path, run_dir: Path, kept_bundle: Path, store: Path, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    """A working directory with what the pages name: images, run folders, a bundle and a store."""
    prepare_workplace(tmp_path, corpus, run_dir, kept_bundle)
    places = {
        **{f"runs/{name}": run_dir for name in ("ck", "corpus")},
        **{"models/ck": kept_bundle, "store": store},
    }
    for name, target in places.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).symlink_to(target)
    monkeypatch.chdir(tmp_path)


@pytest.mark.slow
@pytest.mark.usefixtures("workplace")
@pytest.mark.parametrize("block", RUNNABLE, ids=str)
def test_python_runs_on_a_real_run_folder(block: Block) -> None:
    names: dict[str, Any] = {}
    exec(compile(block.code, str(block), "exec"), names)
    tables = {
        "frames",
        "landmarks",
        "trials",
        "accuracies",
        "recall",
        "rows",
        "images",
        "predicted",
    }
    assert all(len(names[name]) for name in tables & names.keys())


@pytest.mark.parametrize("block", DOWNLOADS, ids=str)
def test_imports_of_other_python_exist(block: Block) -> None:
    tree = ast.parse(block.code)
    tree.body = [one for one in tree.body if isinstance(one, ast.Import | ast.ImportFrom)]
    exec(compile(tree, str(block), "exec"), {})


@pytest.mark.slow
def test_records_have_the_documented_keys(run_dir: Path) -> None:
    [block] = blocks("json")
    documented = json.loads(block.code)
    record = json.loads((run_dir / "extract.json").read_text(encoding="utf-8"))
    assert documented["schema_version"] == record["schema_version"]
    assert documented.keys() == record.keys()
    for section in ("settings", "data", "timings"):
        assert documented[section].keys() == record[section].keys()
    rows = table_rows("reference/run-folder.md", "run.json")[1:]
    run = json.loads((run_dir / "run.json").read_text(encoding="utf-8"))
    assert {name for row in rows for name in names_in(row[0])} == run.keys()
