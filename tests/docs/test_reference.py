"""The hand-written reference pages agree with the code."""

from collections.abc import Iterator
from typing import Any

import pyarrow as pa
import pytest
import yaml
from pydantic import BaseModel

from fer_ray import schemas, store_schemas
from fer_ray.cli.main import cli
from fer_ray.evaluation.label_issues import LABEL_ISSUES_SCHEMA
from fer_ray.settings.backbones import BACKBONES
from fer_ray.settings.feature_sets import FEATURE_SETS
from fer_ray.settings.root import Settings
from fer_ray.vocabulary import EMOTIONS, ExitCode, Status
from tests.docs.pages import names_in, table_rows

FRAMES = schemas.frames_schema({"<name>": 1})


def flat(model: BaseModel, prefix: str = "") -> Iterator[tuple[str, Any]]:
    for name in type(model).model_fields:
        value = getattr(model, name)
        if isinstance(value, BaseModel):
            yield from flat(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value


def documented_default(cell: str) -> Any:
    if cell == "none":
        return None
    names = names_in(cell)
    return yaml.safe_load(cell) if not names else names if len(names) > 1 else names[0]


def same(documented: Any, default: Any) -> bool:
    if isinstance(default, tuple):
        return list(default) == (documented or [])
    if isinstance(default, bool):
        return bool(documented == str(default).lower())
    return bool(documented == default)


def test_every_setting_is_listed_with_its_default() -> None:
    documented = {
        names_in(row[0])[0]: documented_default(row[2])
        for row in table_rows("reference/settings.md")
        if names_in(row[0])
    }
    defaults = dict(flat(Settings()))
    assert list(documented) == sorted(documented, key=list(defaults).index)
    assert documented.keys() == defaults.keys()
    assert [name for name in defaults if not same(documented[name], defaults[name])] == []


def test_listed_options_exist() -> None:
    rows = [row for row in table_rows("reference/settings.md") if names_in(row[0])]
    documented = {name for row in rows for name in names_in(row[1])}
    options = {
        name
        for command in cli.commands.values()
        for parameter in command.params
        for name in (*parameter.opts, *parameter.secondary_opts)
    }
    assert documented - options == set()


def test_every_feature_set_is_listed_with_its_width() -> None:
    rows = [row for row in table_rows("reference/feature-sets.md") if names_in(row[0])]
    documented = {names_in(row[0])[0]: int(row[1].replace(",", "")) for row in rows}
    assert documented == {name: one.width for name, one in FEATURE_SETS.items()}


def test_every_backbone_is_listed_with_its_shapes() -> None:
    rows = [row for row in table_rows("reference/backbones.md") if names_in(row[0])]
    documented = {names_in(row[0])[0]: row[1:4] + row[5:] for row in rows}
    assert documented == {
        name: [
            f"{spec.input_px} px" if spec.map_shape else row_of(rows, name)[1],
            "×".join(map(str, (*spec.map_shape, spec.width))) if spec.map_shape else "–",
            f"{spec.width:,}",
            spec.licence,
        ]
        for name, spec in BACKBONES.items()
    }


def row_of(rows: list[list[str]], name: str) -> list[str]:
    return next(row for row in rows if names_in(row[0])[0] == name)


def test_every_exit_code_is_listed() -> None:
    documented = [row[0] for row in table_rows("reference/exit-codes.md")]
    assert documented[1:] == [str(int(code)) for code in ExitCode]


def test_every_status_is_listed() -> None:
    documented = [names_in(row[0]) for row in table_rows("reference/run-folder.md", "Status")]
    assert documented[1:] == [[status.value] for status in Status]


def test_emotions_are_listed_with_their_codes() -> None:
    rows = table_rows("how-to/own-images.md", "Labels")
    codes = [(row[0], names_in(row[1])[0]) for row in rows if row[0].isdigit()]
    assert codes == [(str(code), name) for code, name in enumerate(EMOTIONS)]


@pytest.mark.parametrize(
    ("page", "heading", "schema"),
    [
        ("run-folder.md", "frames", FRAMES),
        ("run-folder.md", "trials", schemas.TRIALS_SCHEMA),
        ("run-folder.md", "predictions", schemas.PREDICTIONS_SCHEMA),
        ("run-folder.md", "search", schemas.SEARCH_SCHEMA),
        ("run-folder.md", "bottleneck", schemas.bottleneck_schema(1)),
        ("run-folder.md", "Learning curves", schemas.HISTORY_SCHEMA),
        ("run-folder.md", "Label issues", LABEL_ISSUES_SCHEMA),
        ("store.md", "images", store_schemas.IMAGES_SCHEMA),
        ("store.md", "results", store_schemas.results_schema({"<name>": 1})),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_every_column_is_listed(page: str, heading: str, schema: pa.Schema) -> None:
    rows = table_rows(f"reference/{page}", heading)[1:]
    documented = []
    for row in rows:  # a row "first … last" lists its columns in the last cell
        cell = row[-1].partition(":")[2] if " … " in row[0] else row[0]
        documented += names_in(cell)
    answers = [field.name for field in schemas.prediction_fields(("<emotion>",))]
    stored = [name for name in documented if name in schema.names or name not in answers]
    assert stored == schema.names
