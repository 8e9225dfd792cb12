"""Models that are trained on a run folder, saved, loaded and applied without Ray."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pandas as pd

from fer_ray.api.given_settings import GivenPath, with_faces
from fer_ray.api.image_rows import (
    ROW_FIELDS,
    GivenImage,
    GivenImageSteps,
    decode_pixels,
    process_given_images,
)
from fer_ray.errors import UserError
from fer_ray.faces.loaded_models import require_face_models
from fer_ray.features.steps import IMAGE
from fer_ray.models.bundles.backbone_features import require_weights
from fer_ray.models.bundles.bundle_manifest import CARD, MANIFEST
from fer_ray.models.bundles.prediction_step import BundleBackbones
from fer_ray.models.bundles.predictor import Predictor
from fer_ray.settings.extraction import Faces
from fer_ray.storage.files import write_folder
from fer_ray.storage.paths import to_path


def load_model(
    path: GivenPath,
    weights: Mapping[str, GivenPath] | None = None,
    landmark_file: GivenPath | None = None,
) -> "Model":
    """Load a model that `Model.save` or `fer-ray bundle` has written.

    Every file is verified against its hash, and nothing in it can run code.

    Args:
        path: Folder of the model.
        weights: Files of weights by backbone, instead of the defaults.
        landmark_file: File of the landmark model, instead of the default.

    Raises:
        UserError: The folder is not a complete model, or something that it needs is missing.

    Examples:
        >>> import fer_ray as fr
        >>> model = fr.load_model("models/photos")
        >>> model.predict(["face.png", "wall.png"])[["image", "status", "predicted"]]
              image   status predicted
        0  face.png       ok  surprise
        1  wall.png  no_face       NaN
    """
    return Model(path, weights, landmark_file)


class Model:
    """A fitted model that predicts the expressions of faces, in this process and without Ray.

    Create it with `load_model` or `train`.

    Attributes:
        path: Folder of the model; a temporary one until the model is saved.
        labels: Emotions that it predicts, in the order of its probabilities.
        feature_set: Features that it reads.
        evidence: Figures of the experiment that it comes from, with their protocol.
        card: The model card, in Markdown.
        sha256: Hex digest that identifies the model.

    Raises:
        UserError: The folder is not a complete model, or something that it needs is missing.
    """

    def __init__(
        self,
        path: GivenPath,
        weights: Mapping[str, GivenPath] | None = None,
        landmark_file: GivenPath | None = None,
        temporary: TemporaryDirectory[str] | None = None,
    ) -> None:
        self.path = to_path(path)
        self._temporary = temporary  # removed with this object
        self._predictor = Predictor(self.path)
        bundle = self._predictor.bundle
        overrides = tuple((name, str(file)) for name, file in (weights or {}).items())
        self._settings = bundle.settings(None if landmark_file is None else str(landmark_file))
        require_weights(bundle, overrides)
        require_face_models(self._settings)
        backbones = bundle.manifest.recipe.backbones
        self._backbones = (
            BundleBackbones(self.path, bundle.sha256, overrides) if backbones else None
        )
        self.labels = bundle.labels
        self.feature_set = bundle.manifest.model.feature_set
        self.evidence: dict[str, Any] = bundle.manifest.evidence.model_dump(mode="json")
        self.card = bundle.content[CARD].decode()
        self.sha256 = bundle.sha256

    def __repr__(self) -> str:
        accuracy, protocol = self.evidence["test_accuracy"], self.evidence["protocol"]
        return f"Model({self.evidence['experiment']}: accuracy {accuracy:.3f}, {protocol})"

    @property
    def estimator(self) -> Any:
        """The fitted scikit-learn estimator, which maps `feature_set` to codes of emotions.

        A network head is a Keras model instead.
        """
        return self._predictor.estimator

    def save(self, path: GivenPath) -> Path:
        """Write the model to a folder, without pickle, and return the folder.

        Args:
            path: Folder that does not exist or is empty.

        Raises:
            UserError: The folder is not empty, or cannot be written.

        Examples:
            >>> import fer_ray as fr
            >>> fr.train("runs/photos", features="reference").save("models/new").name
            'new'
        """
        target = to_path(path)
        if target.exists() and (not target.is_dir() or any(target.iterdir())):
            raise UserError(f"{target} exists and is not empty. Pass a new folder.")
        content = self._predictor.bundle.content
        manifest = (self.path / MANIFEST).read_bytes()
        try:
            write_folder([*content.items(), (MANIFEST, manifest)], target)
        except OSError as problem:
            raise UserError(
                f"Cannot write the model {target}: {problem.strerror}. Pass another folder."
            ) from None
        return target

    def predict(
        self, images: GivenImage | Sequence[GivenImage], faces: Faces = "one"
    ) -> pd.DataFrame:
        """Predict the expressions of faces.

        Args:
            images: A path or URI; pixels, uint8 with shape (height, width) or, in RGB order,
                (height, width, 3); the bytes of an image file; or a list of these.
            faces: Which faces of an image get a row: `one`, if there is exactly one; `largest`;
                `all`; or `whole`, if the image is a cropped face.

        Returns:
            One row per face. An image without a face, and a file in a list that cannot be read,
            have one row as well: `image` (the path, or the position in the list), `face_index`,
            `status`, `predicted`, `p_<emotion>`, `box_xywh`, `error`, and the other columns of
            `fer-ray predict`. The values are those of `fer-ray predict`, bit for bit.

        Raises:
            UserError: A single file does not exist (in a list, it has a row), or an array is not
                an image.

        Examples:
            >>> import fer_ray as fr
            >>> row = fr.load_model("models/photos").predict("face.png").iloc[0]
            >>> row["predicted"], float(row["p_surprise"]) > 0.5
            ('surprise', True)
        """
        given = _as_list(images)
        for image in given:
            if image is images or not isinstance(image, str | Path):  # a listed file gets a row
                _require_image(image)
        settings = with_faces(self._settings, faces)
        fields = [*ROW_FIELDS, *self._predictor.fields]
        constants = {"bundle_sha256": self.sha256}
        steps = GivenImageSteps(settings, self._backbones)
        table = process_given_images(given, steps, fields, self._predictor, constants)
        rows: pd.DataFrame = table.to_pandas()
        rows[IMAGE] = [
            str(image) if isinstance(image := given[number], str | Path) else number
            for number in rows[IMAGE]
        ]
        return rows[self._column_order(rows)]

    def _column_order(self, rows: pd.DataFrame) -> list[str]:
        predicted = [field.name for field in self._predictor.fields[:-1]]
        first = [IMAGE, "face_index", "status", *predicted, "box_xywh", "error"]
        return [*first, *(name for name in rows.columns if name not in first)]


def _as_list(images: Any) -> list[Any]:
    arrays = ("__array__", "__array_interface__")  # of NumPy and of Pillow
    if isinstance(images, str | Path | bytes) or any(hasattr(images, name) for name in arrays):
        return [images]
    return [*images]


def _require_image(image: Any) -> None:
    if isinstance(image, str | Path):
        if not (path := to_path(image)).is_file():
            problem = "is not a file" if path.exists() else "does not exist"
            raise UserError(f"{image} {problem}. Pass image files or arrays of pixels.")
    elif not isinstance(image, bytes) and (error := decode_pixels(image).error):
        raise UserError(f"{error[0].upper()}{error[1:]}.")
