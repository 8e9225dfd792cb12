"""A sweep made ready: models looked at, source and store opened, the ledger made."""

import pickle
import secrets
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import duckdb
import pyarrow as pa

from fer_ray.bundle.networks import Asked, require_weights
from fer_ray.bundle.predictor import Answering, Predictor
from fer_ray.config import ExtractSettings, Selection, Settings
from fer_ray.errors import UserError
from fer_ray.progress import Progress
from fer_ray.sweep.describe import DescribeImage, schema_of
from fer_ray.sweep.fuse import Fuse
from fer_ray.sweep.guard import Describe
from fer_ray.sweep.ledger import Ledger, This
from fer_ray.sweep.recipe import Recipe, recipe_of
from fer_ray.sweep.record import Record, name_at
from fer_ray.sweep.source import open_source
from fer_ray.sweep.state import Stop, Sweep
from fer_ray.sweep.store import Store

# No room on the disk or in memory, and what follows from it; mistakes in queries are bugs.
DATABASE_LOST = (duckdb.OperationalError, duckdb.FatalException, duckdb.InternalException)


@contextmanager
def prepared(
    source: str,
    store: str,
    settings: Settings,
    progress: Progress,
    model: Path | None = None,
    weights: Asked = (),
    describe: Describe | None = None,
    stop: Stop | None = None,
) -> Iterator[Sweep]:
    """A sweep that has not begun; see `run_sweep`."""
    predictor = Predictor(model) if model else None
    if predictor:
        _refuse_own_settings(settings)
        extract = predictor.settings(settings.extract.landmarks.model)
        settings = settings.model_copy(update={"extract": extract})
    way = way_of(settings, predictor, weights)
    opened, kept = open_source(source), Store(store, settings.sweep.retention_hours)
    record = Record(_name(), opened.uri, kept.uri, way.recipe)
    policy = settings.sweep
    this = This(
        way.recipe.fingerprint, record.sweep, _now(kept), policy.gone, policy.retry,
        settings.extract.decode.max_bytes, policy.reread_share,
    )  # fmt: skip
    with _scratch() as scratch:
        ledger = Ledger(scratch, this)
        try:
            yield Sweep(
                opened, kept, settings, way.recipe, ledger, pickle.dumps(describe or way.describe),
                progress, record, way.schema, Fuse(policy.fuse_images), stop or Stop(),
            )  # fmt: skip
        finally:
            ledger.close()


@dataclass(frozen=True)
class Way:
    """How contents become rows.

    Attributes:
        describe: The steps of extraction, and the answers of a model if there is one.
        schema: Of `results`.
        recipe: With the models and libraries of this machine.
    """

    describe: DescribeImage
    schema: pa.Schema
    recipe: Recipe


def way_of(settings: Settings, predictor: Predictor | None, weights: Asked) -> Way:
    """The way that settings and a model make.

    Raises:
        UserError: A landmark model or a backbone's weights are missing.
    """
    answer, bundle, labels = None, None, tuple[str, ...]()
    if predictor:
        bundle, labels = predictor.bundle, predictor.labels
        require_weights(bundle, weights)
        answer = Answering(bundle.folder.resolve(), predictor.sha256, weights=weights)
    recipe = recipe_of(settings, bundle)
    return Way(
        DescribeImage(settings.extract, settings.sweep.faces, answer, recipe),
        schema_of(settings.extract, labels),
        recipe,
    )


@contextmanager
def _scratch() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="fer-ray-") as folder:
        try:
            yield Path(folder)
        except DATABASE_LOST as problem:
            reason = str(problem).splitlines()[0]
            raise UserError(
                f"What this sweep knows, in the temporary folder {folder}, cannot be kept any "
                f"more: {reason}\nSet TMPDIR to a folder with room on a disk that is well, see "
                "that this machine has memory left, and run the same again."
            ) from None


def _refuse_own_settings(settings: Settings) -> None:
    """A bundle's rows are extracted by its own settings, so others would not be used."""
    extract = settings.extract
    landmarks = extract.landmarks.model_copy(update={"model": None})
    asked = extract.model_copy(update={"landmarks": landmarks, "selection": Selection()})
    if settings.profile != "reference" or asked != ExtractSettings():
        raise UserError(
            "--model brings the settings of extraction that it was made with: leave out --profile "
            "and what begins with extract., or leave out --model."
        )


def _now(store: Store) -> int:
    """This moment, or one after all that the store has, should another clock have been ahead."""
    return max(time.time_ns(), (store.snapshot("images").largest("listed_ns") or 0) + 1)


def _name() -> str:
    """Sorts by time; random at its end, for two at once."""
    return f"{name_at(datetime.now(UTC))}-{secrets.token_hex(3)}"
