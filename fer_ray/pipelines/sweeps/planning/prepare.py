"""Preparation of a sweep: check the model, open source and store, create the scratch folder."""

import os
import pickle
import secrets
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow as pa
from pyarrow.fs import LocalFileSystem

from fer_ray.errors import StoreLostError, UserError
from fer_ray.execution.cluster.session import has_several_nodes
from fer_ray.execution.tasks.task_runner import TaskRunner
from fer_ray.models.bundles.backbone_features import WeightOverrides, require_weights
from fer_ray.pipelines.sweeps.context import (
    StopFlag,
    SweepContext,
    SweepRequest,
    name_prefix,
)
from fer_ray.pipelines.sweeps.planning.plan_partition import PlanContext
from fer_ray.pipelines.sweeps.planning.store_recipe import StoreRecipe, build_store_recipe
from fer_ray.pipelines.sweeps.publishing.fuse import Fuse
from fer_ray.pipelines.sweeps.record import SweepRecord
from fer_ray.pipelines.sweeps.sweep_steps import SweepSteps, schema_of
from fer_ray.settings.extraction import Crop, ExtractSettings, Selection
from fer_ray.settings.root import Settings
from fer_ray.sources.streams.image_source import open_source
from fer_ray.storage.archive import SCRATCH
from fer_ray.storage.delta_store import Store
from fer_ray.storage.foreign_tables import require_own_tables
from fer_ray.storage.objects.object_path import ObjectPath
from fer_ray.storage.paths import require_output_outside, to_path
from fer_ray.storage.table_folder import TableFolder

if TYPE_CHECKING:
    from fer_ray.models.bundles.predictor import Predictor


@contextmanager
def prepare_sweep(request: SweepRequest) -> Iterator[SweepContext]:
    """Prepare a sweep without starting it; nothing in the store is changed.

    Raises:
        UserError: A model, the source or the store is missing, the store contains files of the
            user, or the temporary folder is full.
    """
    predictor = _load_predictor(request.model) if request.model else None
    settings = _effective_settings(request.settings, predictor)
    processor = build_processor(settings, predictor, request.weights)
    source = open_source(request.source, settings.extract.selection.hidden_files)
    store = Store(request.store, settings.sweep.retention_hours)
    require_output_outside(_as_path(store.uri), _as_path(source.uri))
    require_own_tables(store)
    record = SweepRecord(_sweep_name(), source.uri, store.uri, processor.recipe)
    policy, stop = settings.sweep, request.stop or StopFlag()
    context = PlanContext(
        processor.recipe.fingerprint, record.sweep, _listing_time_ns(store), policy.gone,
        policy.retry, settings.extract.decode.max_bytes, policy.reread_share,
    )  # fmt: skip
    with _scratch_folder(store, record.sweep, settings) as scratch:
        yield SweepContext(
            source=source,
            store=store,
            settings=settings,
            recipe=processor.recipe,
            steps=pickle.dumps(request.steps or processor.steps),
            progress=request.progress,
            record=record,
            schema=processor.schema,
            fuse=Fuse(policy.fuse_images),
            context=context,
            scratch=scratch,
            runner=TaskRunner(settings.execution, stop),
            stop=stop,
        )


def _as_path(uri: str) -> Path:
    is_local = "://" not in uri or uri.startswith("file://")
    return to_path(uri) if is_local else ObjectPath(uri)


def _load_predictor(model: Path) -> "Predictor":
    from fer_ray.models.bundles.predictor import Predictor  # takes seconds to import

    return Predictor(model)


def _effective_settings(settings: Settings, predictor: "Predictor | None") -> Settings:
    """`settings`, with the extraction settings of the model bundle if there is one."""
    if predictor is None:
        if settings.predict.abstain_below is not None:
            raise UserError(
                "--abstain-below applies to predictions, and the sweep makes none. Add --model, or "
                "remove --abstain-below."
            )
        return settings
    _refuse_extraction_settings(settings)
    extract = predictor.bundle.settings(settings.extract.landmarks.file)
    crop = extract.crop.model_copy(update={"faces": settings.extract.crop.faces})
    update = {"crop": crop, "selection": settings.extract.selection}
    return settings.model_copy(update={"extract": extract.model_copy(update=update)})


def _refuse_extraction_settings(settings: Settings) -> None:
    """Reject extraction settings next to a model bundle: they would be ignored silently."""
    extract = settings.extract
    comparable = extract.model_copy(
        update={
            "landmarks": extract.landmarks.model_copy(update={"file": None}),
            "crop": extract.crop.model_copy(update={"faces": Crop().faces}),
            "selection": Selection(),
        }
    )
    if settings.profile != "reference" or comparable != ExtractSettings():
        raise UserError(
            "--model uses the extraction settings of its bundle. Remove --profile and all "
            "extract.* settings, or remove --model."
        )


@dataclass(frozen=True)
class Processor:
    """The function that turns the content of an image into rows.

    Attributes:
        steps: The extraction steps and, with a model, its predictions.
        schema: Schema of the rows of `results`.
        recipe: The recipe of these rows, with the models and libraries of this machine.
    """

    steps: SweepSteps
    schema: pa.Schema
    recipe: StoreRecipe


def build_processor(
    settings: Settings, predictor: "Predictor | None", weights: WeightOverrides = ()
) -> Processor:
    """Build the processor of extraction settings and, optionally, a model.

    Raises:
        UserError: The landmark model or the weights of a backbone are missing.
    """
    backbones, predict, bundle, labels = None, None, None, tuple[str, ...]()
    if predictor:
        from fer_ray.models.bundles.prediction_step import BundleBackbones, BundleModel

        bundle, labels = predictor.bundle, predictor.labels
        require_weights(bundle, weights)
        folder = bundle.folder.absolute()
        predict = BundleModel(folder, predictor.sha256, settings.predict.abstain_below)
        if bundle.manifest.recipe.backbones:
            backbones = BundleBackbones(folder, predictor.sha256, weights)
    recipe = build_store_recipe(settings, bundle)
    return Processor(
        SweepSteps(settings.extract, backbones, predict, recipe),
        schema_of(settings.extract, labels),
        recipe,
    )


@contextmanager
def _scratch_folder(store: Store, sweep: str, settings: Settings) -> Iterator[TableFolder]:
    """A folder that all workers can access: in the store if they may be on other machines."""
    on_cluster = bool(os.environ.get("RAY_ADDRESS")) or has_several_nodes()
    if on_cluster and settings.execution.executor != "in-process":
        try:
            yield store.folder(f"{SCRATCH}/{sweep}")
        finally:
            with suppress(StoreLostError):  # the sweep has reported that, or is finished
                store.archive.remove_scratch(sweep)
        return
    with tempfile.TemporaryDirectory(prefix="fer-ray-") as folder:
        yield TableFolder(folder, LocalFileSystem(), folder, temporary=True)


def _listing_time_ns(store: Store) -> int:
    """The current time, or a time after the latest one in the store if another clock was ahead."""
    return max(time.time_ns(), (store.snapshot("images").max_value("listed_ns") or 0) + 1)


def _sweep_name() -> str:
    """A name that sorts by time; its random end keeps two simultaneous sweeps apart."""
    return f"{name_prefix(datetime.now(UTC))}-{secrets.token_hex(3)}"
