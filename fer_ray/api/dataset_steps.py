"""Steps for custom pipelines: batches of images in, rows with faces out."""

from collections.abc import Mapping
from functools import cached_property
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from fer_ray.api.given_settings import GivenPath, GivenSettings, read_settings, with_faces
from fer_ray.api.image_batches import Batch, as_images, find_image_column, join_columns
from fer_ray.api.image_rows import ROW_FIELDS, GivenImageSteps, feature_fields, process_given_images
from fer_ray.faces.loaded_models import require_face_models
from fer_ray.settings.extraction import Faces
from fer_ray.settings.root import Profile
from fer_ray.storage.paths import to_path

if TYPE_CHECKING:
    from fer_ray.models.bundles.prediction_step import BundleModel


class FaceFeatures:
    """Finds faces in batches of images and computes their landmarks and features.

    Use it with `Dataset.map_batches` of Ray Data, or call it with a table. Models are loaded once
    per process.

    Args:
        profile: Named set of values for several settings: `reference`, `fast` or `mesh`.
        settings: Any settings of `extract`: values by name, such as
            `{"extract.features.sets": ["hog"]}`, a `Settings` object, or a YAML file.
        faces: Which faces of an image get a row: `one`, `largest`, `all` or `whole`. None: as in
            `settings`.
        column: Column of the images. None: the first of `image` (arrays, as
            `ray.data.read_images` returns them), `bytes` (encoded files, as
            `ray.data.read_binary_files` returns them) and `path`.
        image_seconds: Process each image in a child process with this time limit, so that a file
            that crashes or blocks a decoder costs one row instead of the worker. None: no child.

    Raises:
        UserError: A setting is invalid, or a model file is missing.

    Examples:
        >>> import fer_ray as fr
        >>> step = fr.FaceFeatures(profile="fast")
        >>> rows = step({"path": ["face.png", "wall.png"]})
        >>> rows["status"].to_pylist()
        ['ok', 'no_face']
        >>> rows["landmarks_xy"].type
        FixedSizeListType(fixed_size_list<item: float>[136])
    """

    def __init__(
        self,
        profile: Profile | None = None,
        settings: GivenSettings = None,
        faces: Faces | None = None,
        column: str | None = None,
        image_seconds: float | None = None,
    ) -> None:
        extract = with_faces(read_settings(settings, profile).extract, faces)
        require_face_models(extract)
        self._steps = GivenImageSteps(extract)
        self._column, self._seconds = column, image_seconds
        self._fields = [*ROW_FIELDS, *feature_fields(extract)]

    def __call__(self, batch: Batch) -> pa.Table:
        """Process a batch.

        Args:
            batch: A mapping of columns to arrays, a pandas table or an Arrow table. Arrays of
                pixels are uint8 with shape (height, width), or (height, width, 3) in RGB order.

        Returns:
            One row per face, the largest of an image first, or one row for an image without a
            face. The columns of the batch except pixels and bytes, then `face_index`, `status` and
            all others of `frames`, with vectors as fixed-size lists.

        Raises:
            UserError: The batch has no column of images.
        """
        column = find_image_column(batch, self._column)
        rows = process_given_images(
            as_images(batch[column]), self._steps, self._fields, image_seconds=self._seconds
        )
        return join_columns(batch, column, rows)


class Predict:
    """Finds faces in batches of images and predicts their expressions with a saved model.

    Use it with `Dataset.map_batches` of Ray Data, or call it with a table. The model is loaded by
    the first batch, once per process.

    Args:
        model: Folder of the model, which every node can read.
        faces: Which faces of an image get a row: `one`, `largest`, `all` or `whole`.
        column: Column of the images, as for `FaceFeatures`.
        weights: Files of weights by backbone of the model, instead of the defaults.
        image_seconds: Process each image in a child process, as for `FaceFeatures`.

    Raises:
        UserError: The model cannot be used, or a model file is missing.

    Examples:
        >>> import fer_ray as fr
        >>> rows = fr.Predict("models/photos")({"path": ["face.png", "wall.png"]})
        >>> rows["predicted"].to_pylist()
        ['surprise', None]
    """

    def __init__(
        self,
        model: GivenPath,
        faces: Faces = "one",
        column: str | None = None,
        weights: Mapping[str, GivenPath] | None = None,
        image_seconds: float | None = None,
    ) -> None:
        from fer_ray.models.bundles.backbone_features import require_weights
        from fer_ray.models.bundles.bundle import read_bundle
        from fer_ray.models.bundles.prediction_step import BundleBackbones

        folder = to_path(model)
        bundle = read_bundle(folder)
        overrides = tuple((name, str(file)) for name, file in (weights or {}).items())
        extract = with_faces(bundle.settings(), faces)
        require_weights(bundle, overrides)
        require_face_models(extract)
        backbones = None
        if bundle.manifest.recipe.backbones:
            backbones = BundleBackbones(folder, bundle.sha256, overrides)
        self._steps = GivenImageSteps(extract, backbones)
        self._folder, self._sha256, self._labels = folder, bundle.sha256, bundle.labels
        self._column, self._seconds = column, image_seconds

    @cached_property
    def _fields(self) -> list[pa.Field]:
        from fer_ray.schemas import prediction_fields

        return [*ROW_FIELDS, *prediction_fields(self._labels)]

    @property
    def _model(self) -> "BundleModel":
        from fer_ray.models.bundles.prediction_step import BundleModel

        return BundleModel(self._folder, self._sha256)

    def __call__(self, batch: Batch) -> pa.Table:
        """Predict a batch.

        Args:
            batch: As for `FaceFeatures`.

        Returns:
            One row per face, the largest of an image first, or one row for an image without a
            face. The columns of the batch except pixels and bytes, then the columns of
            `fer-ray predict`: `face_index`, `status`, `box_xywh`, `predicted`, `p_<emotion>` …

        Raises:
            UserError: The batch has no column of images.
        """
        column = find_image_column(batch, self._column)
        constants = {"bundle_sha256": self._sha256}
        rows = process_given_images(
            as_images(batch[column]), self._steps, self._fields, self._model, constants,
            self._seconds,
        )  # fmt: skip
        return join_columns(batch, column, rows)


def extract_faces(
    dataset: Any,
    profile: Profile | None = None,
    settings: GivenSettings = None,
    faces: Faces | None = None,
    column: str | None = None,
    image_seconds: float | None = None,
    batch_size: int = 32,
    **options: Any,
) -> Any:
    """Add a step to a Ray Data pipeline that finds faces and computes their features.

    It runs in tasks, which load the models once per process. For a pool of actors, pass
    `FaceFeatures` to `Dataset.map_batches`.

    Args:
        dataset: A `ray.data.Dataset` with a column of images, such as
            `ray.data.read_images(…)` or `ray.data.read_binary_files(…)`.
        profile: Named set of values for several settings: `reference`, `fast` or `mesh`.
        settings: Any settings of `extract`, as for `FaceFeatures`.
        faces: Which faces of an image get a row, as for `FaceFeatures`.
        column: Column of the images, as for `FaceFeatures`.
        image_seconds: Process each image in a child process, as for `FaceFeatures`.
        batch_size: Images per call.
        **options: Options of `Dataset.map_batches`, such as `num_cpus` and `memory`.

    Returns:
        A dataset with one row per face, as `FaceFeatures` returns them.

    Raises:
        UserError: A setting is invalid, or a model file is missing.

    Examples:
        >>> import ray, fer_ray as fr
        >>> images = ray.data.read_images("s3://bucket/photos", mode="RGB")  # doctest: +SKIP
        >>> faces = fr.extract_faces(images, profile="mesh", faces="all")  # doctest: +SKIP
        >>> faces.write_parquet("s3://bucket/faces")  # doctest: +SKIP
    """
    step = FaceFeatures(profile, settings, faces, column, image_seconds)
    return dataset.map_batches(
        _call, fn_kwargs={"step": step}, batch_size=batch_size, batch_format="numpy", **options
    )


def _call(batch: Batch, step: FaceFeatures) -> pa.Table:
    return step(batch)
