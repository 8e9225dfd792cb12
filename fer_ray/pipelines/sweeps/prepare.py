"""Preparation of a sweep: check the model, open source and store, create the ledger."""

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

from fer_ray.errors import UserError
from fer_ray.models.bundles.backbone_features import WeightOverrides, require_weights
from fer_ray.models.bundles.prediction_step import BundleBackbones, BundleModel
from fer_ray.models.bundles.predictor import Predictor
from fer_ray.pipelines.sweeps.context import (
    StopFlag,
    SweepContext,
    SweepRecord,
    SweepRequest,
    name_prefix,
)
from fer_ray.pipelines.sweeps.describe import DescribeImage, schema_of
from fer_ray.pipelines.sweeps.fuse import Fuse
from fer_ray.pipelines.sweeps.store_recipe import StoreRecipe, build_store_recipe
from fer_ray.settings.extraction import ExtractSettings, Selection
from fer_ray.settings.root import Settings
from fer_ray.sources.streams.image_source import open_source
from fer_ray.storage.delta_store import Store
from fer_ray.storage.ledger.ledger import Ledger, LedgerContext

# The disk or the memory is full, and what follows from that. Errors in queries are bugs.
DATABASE_LOST = (duckdb.OperationalError, duckdb.FatalException, duckdb.InternalException)


@contextmanager
def prepare_sweep(request: SweepRequest) -> Iterator[SweepContext]:
    """Prepare a sweep without starting it; nothing in the store is changed.

    Raises:
        UserError: A model, the source or the store is missing, or the temporary folder is full.
    """
    predictor = Predictor(request.model) if request.model else None
    settings = _effective_settings(request.settings, predictor)
    describer = build_describer(settings, predictor, request.weights)
    source = open_source(request.source)
    store = Store(request.store, settings.sweep.retention_hours)
    record = SweepRecord(_sweep_name(), source.uri, store.uri, describer.recipe)
    policy = settings.sweep
    context = LedgerContext(
        describer.recipe.fingerprint, record.sweep, _listing_time_ns(store), policy.gone,
        policy.retry, settings.extract.decode.max_bytes, policy.reread_share,
    )  # fmt: skip
    with _scratch_folder() as folder:
        ledger = Ledger(folder, context)
        try:
            yield SweepContext(
                source, store, settings, describer.recipe, ledger,
                pickle.dumps(request.describe or describer.describe), request.progress, record,
                describer.schema, Fuse(policy.fuse_images), request.stop or StopFlag(),
            )  # fmt: skip
        finally:
            ledger.close()


def _effective_settings(settings: Settings, predictor: Predictor | None) -> Settings:
    """`settings`, with the extraction settings of the model bundle if there is one."""
    if predictor is None:
        return settings
    _refuse_extraction_settings(settings)
    extract = predictor.bundle.settings(settings.extract.landmarks.model)
    return settings.model_copy(update={"extract": extract})


def _refuse_extraction_settings(settings: Settings) -> None:
    """Refuse extraction settings next to a model bundle, which would silently be ignored."""
    extract = settings.extract
    landmarks = extract.landmarks.model_copy(update={"model": None})
    comparable = extract.model_copy(update={"landmarks": landmarks, "selection": Selection()})
    if settings.profile != "reference" or comparable != ExtractSettings():
        raise UserError(
            "--model uses the extraction settings of its bundle. Remove --profile and all "
            "extract.* settings, or remove --model."
        )


@dataclass(frozen=True)
class Describer:
    """The function that turns the content of an image into rows.

    Attributes:
        describe: The extraction steps and, with a model, its predictions.
        schema: Schema of the rows of `results`.
        recipe: The recipe of these rows, with the models and libraries of this machine.
    """

    describe: DescribeImage
    schema: pa.Schema
    recipe: StoreRecipe


def build_describer(
    settings: Settings, predictor: Predictor | None, weights: WeightOverrides = ()
) -> Describer:
    """Build the describer of extraction settings and, optionally, a model.

    Raises:
        UserError: The landmark model or the weights of a backbone are missing.
    """
    backbones, predict, bundle, labels = None, None, None, tuple[str, ...]()
    if predictor:
        bundle, labels = predictor.bundle, predictor.labels
        require_weights(bundle, weights)
        folder = bundle.folder.resolve()
        predict = BundleModel(folder, predictor.sha256)
        if bundle.manifest.recipe.backbones:
            backbones = BundleBackbones(folder, predictor.sha256, weights)
    recipe = build_store_recipe(settings, bundle)
    return Describer(
        DescribeImage(settings.extract, settings.sweep.faces, backbones, predict, recipe),
        schema_of(settings.extract, labels),
        recipe,
    )


@contextmanager
def _scratch_folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="fer-ray-") as folder:
        try:
            yield Path(folder)
        except DATABASE_LOST as problem:
            reason = str(problem).splitlines()[0]
            raise UserError(
                f"The sweep's database in the temporary folder {folder} failed: {reason}\nFree "
                "memory, or set TMPDIR to a folder on a working disk with enough space. Then rerun "
                "the command."
            ) from None


def _listing_time_ns(store: Store) -> int:
    """The current time, or one after the latest in the store in case another clock was ahead."""
    return max(time.time_ns(), (store.snapshot("images").max_value("listed_ns") or 0) + 1)


def _sweep_name() -> str:
    """A name that sorts by time; its random end keeps two simultaneous sweeps apart."""
    return f"{name_prefix(datetime.now(UTC))}-{secrets.token_hex(3)}"
