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

from fer_ray.errors import SourceLostError, UserError
from fer_ray.execution.guard import Describe
from fer_ray.execution.progress import Progress
from fer_ray.models.bundles.backbone_features import Asked, require_weights
from fer_ray.models.bundles.predictor import Answering, Predictor
from fer_ray.pipelines.sweeps.context import Record, Stop, Sweep, name_at
from fer_ray.pipelines.sweeps.describe import DescribeImage, schema_of
from fer_ray.pipelines.sweeps.fuse import Fuse
from fer_ray.pipelines.sweeps.store_recipe import Recipe, recipe_of
from fer_ray.settings.extraction import ExtractSettings, Selection
from fer_ray.settings.root import Settings
from fer_ray.sources.locations import open_source
from fer_ray.storage.delta_store import Store
from fer_ray.storage.ledger.ledger import Ledger, This

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


EXAMPLES = 3  # paths that a message names


def refuse_another_source(sweep: Sweep) -> None:
    """A folder that is not mounted looks as if every image had been removed.

    Raises:
        SourceLostError: Nothing is listed, too much of what the store has is gone, all labels are,
            or the store is of another source.
    """
    _refuse_another_name(sweep)
    _refuse_an_emptied_one(sweep)
    _refuse_one_without_labels(sweep)


def _refuse_another_name(sweep: Sweep) -> None:
    before = sweep.store.archive.source()
    if before not in (None, sweep.source.uri) and not sweep.settings.sweep.source_moved:
        raise SourceLostError(
            f"The store {sweep.store.uri} holds the images of {before}, and --source is "
            f"{sweep.source.uri}. If these are the same images in another place: --set "
            "sweep.source_moved=true. Else give another --store. Nothing was changed."
        )


def _refuse_an_emptied_one(sweep: Sweep) -> None:
    planned, settings = sweep.record.planned, sweep.settings.sweep
    gone = planned.get("gone", (0, 0))[0]
    listed = sum(count for count, _ in planned.values()) - gone
    stored = sweep.ledger.stored()
    if not listed:
        raise SourceLostError(
            f"{sweep.source.uri} holds no images. Is it mounted? Nothing was changed."
            if stored
            else f"{sweep.source.uri} holds no images; they are looked for by their endings."
        )
    if settings.gone == "delete" and gone > settings.max_gone_share * stored:
        paths = ", ".join(sweep.ledger.gone_examples(EXAMPLES))
        raise SourceLostError(
            f"{gone} of the store's {stored} images are gone from {sweep.source.uri} ({paths} …). "
            "Is all of it mounted? If it is right: --set sweep.max_gone_share=1. Nothing was "
            "changed."
        )


def _refuse_one_without_labels(sweep: Sweep) -> None:
    listed, stored = sweep.ledger.labelled()
    if stored and not listed and not sweep.settings.sweep.labels_gone:
        raise SourceLostError(
            f"{stored} of the store's images have a label or subject, and none in "
            f"{sweep.source.uri} has any more. Is its labels.csv gone? If it is right: --set "
            "sweep.labels_gone=true. Nothing was changed."
        )
