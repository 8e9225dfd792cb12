"""The model of a bundle: extracted rows in, the same rows with predictions out."""

from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from threadpoolctl import ThreadpoolController

from fer_ray.errors import UserError
from fer_ray.models.bundles.bundle import Bundle, read_bundle
from fer_ray.models.bundles.bundle_manifest import CARD, CHECK, MANIFEST, TRAINING_FACES
from fer_ray.models.bundles.keras_heads import KerasHead, load_head
from fer_ray.models.bundles.model_card import model_card
from fer_ray.models.bundles.prediction_columns import prediction_columns
from fer_ray.models.bundles.skops_files import load_estimator
from fer_ray.models.confidence.training_faces import TrainingFaces
from fer_ray.models.temperature_svm import TemperatureSvm
from fer_ray.schemas import feature_column, prediction_fields
from fer_ray.settings.feature_sets import sets_of
from fer_ray.storage.environment import library_versions
from fer_ray.storage.parquet import read_table
from fer_ray.vocabulary import EMOTIONS, USABLE_STATUSES

Floats = NDArray[np.float64]

# Tolerance of a probability, and of an OOD score relative to it: CPUs differ in the order of
# summation, and heads compute in float32.
CHECK_TOLERANCE = {"svm": 1e-6, "head": 1e-4}


class Predictor:
    """The model of a bundle.

    Args:
        bundle: Folder of the bundle.
        abstain_below: The answer is `abstained` if the predicted class is less probable than this.
            None: if the prediction set does not consist of exactly one class.

    Attributes:
        sha256: Hex digest that identifies the bundle.
        labels: Emotions that it predicts, in the order of its probabilities.
        trained_on: Hex SHA-256 of the files that the model was fitted on.
        fields: Columns that it appends (`schemas.prediction_fields`).

    Raises:
        UserError: The folder is not a complete bundle, a file was changed, or its model does not
            reproduce the predictions that are stored with it.

    Examples:
        >>> predictor = Predictor(Path("model"))
        >>> rows = predictor(read_table(Path("results/frames")))
        >>> rows["predicted"][0].as_py()
        'happy'
    """

    def __init__(self, bundle: Path, abstain_below: float | None = None) -> None:
        self._abstain_below = abstain_below
        self._bundle = read_bundle(bundle)
        manifest = self._bundle.manifest
        _require_matching_card(self._bundle)
        self.sha256 = self._bundle.sha256
        self.labels = manifest.labels
        self.fields = prediction_fields(manifest.labels)
        self._model = _load_model(self._bundle)
        self._faces = _load_faces(self._bundle)
        self.trained_on = self._bundle.trained_on
        self._threads = ThreadpoolController()  # created once, as finding the libraries is slow
        self._require_stored_predictions()

    @property
    def bundle(self) -> Bundle:
        """The bundle as read from its folder."""
        return self._bundle

    @property
    def estimator(self) -> Any:
        """The fitted estimator: scikit-learn's SVM, with its scaler if any, or a Keras model."""
        model = self._model
        return model.estimator if isinstance(model, TemperatureSvm) else model.model

    def __call__(self, table: pa.Table) -> pa.Table:
        """Predict extracted rows.

        The prediction for a row is bit for bit the same with any other rows in the table.

        Args:
            table: Extracted rows (`schemas.frames_schema`).

        Returns:
            The rows with `fields` appended; null for rows without features.
        """
        usable = np.isin(table["status"].to_numpy(zero_copy_only=False), list(USABLE_STATUSES))
        feature_set = self._bundle.manifest.model.feature_set
        features = stacked_features(table.filter(pa.array(usable)), feature_set)
        columns = self._columns(*self._predict_features(features))
        rows = np.full(table.num_rows, -1)
        rows[usable] = np.arange(len(features))
        indices = pa.array(rows, mask=~usable)
        columns = [column.take(indices) for column in columns]
        columns.append(pa.array([self.sha256] * table.num_rows, pa.string()))
        for field, column in zip(self.fields, columns, strict=True):
            table = table.append_column(field, column)
        return table

    def _columns(self, probabilities: Floats, ood_scores: Floats) -> list[pa.Array]:
        threshold = self._bundle.manifest.confidence.set_threshold
        return [
            *prediction_columns(self.labels, probabilities, threshold, self._abstain_below),
            pa.array(ood_scores, pa.float64()),
            pa.array(self._faces.p_values(ood_scores), pa.float64()),
        ]

    def _predict_features(self, features: Floats) -> tuple[Floats, Floats]:
        """Compute the probabilities (n, labels) and OOD scores (n,) of faces.

        A head predicts row by row, as the rounding of a batch depends on its size.
        """
        batch = 1 if self._bundle.manifest.kind == "head" else max(1, len(features))
        codes = [EMOTIONS.index(name) for name in self.labels]
        scores = np.zeros((len(features), len(codes)))
        with self._threads.limit(limits=1):
            for start in range(0, len(features), batch):
                rows = slice(start, start + batch)
                scores[rows] = self._model.scores(features[rows])[:, codes]
            ood_scores = self._faces.scores(features)
        scaling = self._bundle.manifest.confidence.scaling
        return scaling.probabilities(scores), ood_scores

    def _require_stored_predictions(self) -> None:
        try:
            check = read_table(BytesIO(self._bundle.content[CHECK]))
            probabilities, ood_scores = self._predict_features(_matrix(check["features"]))
            ratios = ood_scores / check["ood_score"].to_numpy()
            gaps = np.hstack([probabilities - _matrix(check["probabilities"]), ratios[:, None] - 1])
            gap = float(np.abs(gaps).max())
        except Exception as problem:  # Keras and scikit-learn raise many kinds
            raise UserError(
                f"Bundle {self._bundle.folder}: the model cannot predict the rows of {CHECK} "
                f"({problem}). Create the bundle again."
            ) from None
        if not gap <= CHECK_TOLERANCE[self._bundle.manifest.kind]:
            raise UserError(
                f"Bundle {self._bundle.folder} does not reproduce its stored predictions on this "
                f"machine (values differ by {gap:.2g}). {self._version_differences()}"
            )

    def _version_differences(self) -> str:
        installed = library_versions()
        differences = [
            f"{name} {version}, installed {installed.get(name, 'none')}"
            for name, version in self._bundle.manifest.versions.items()
            if installed.get(name) != version
        ]
        if not differences:
            return "All library versions are the same."
        return f"It was created with {'; '.join(differences)}."


def _require_matching_card(bundle: Bundle) -> None:
    """Check that the card that people read describes the model that programs load."""
    if bundle.content[CARD] != model_card(bundle.manifest).encode():
        raise UserError(
            f"Bundle {bundle.folder}: {CARD} does not match {MANIFEST}. One of them was edited, or "
            "another version of fer_ray wrote them. Create the bundle again."
        )


def _load_faces(bundle: Bundle) -> TrainingFaces:
    try:
        return TrainingFaces.from_bytes(bundle.content[TRAINING_FACES])
    except ValueError as problem:
        raise UserError(
            f"Bundle {bundle.folder}: cannot read {TRAINING_FACES} ({problem}). Create the bundle "
            "again."
        ) from None


def _load_model(bundle: Bundle) -> TemperatureSvm | KerasHead:
    """Load the bundle's model and check that it predicts the bundle's labels."""
    file = bundle.manifest.model.file
    name = str(bundle.folder / file)
    if bundle.manifest.kind == "head":
        return load_head(bundle.content[file], name, bundle.manifest.labels)
    try:
        fitted = bundle.manifest.confidence
        estimator = load_estimator(bundle.content[file], name)
        model = TemperatureSvm.from_fitted(estimator, fitted.sharpness, fitted.scaling)
        matches = model.classes == bundle.manifest.labels
    except (AttributeError, IndexError, KeyError, TypeError, ValueError):
        matches = False
    if not matches:
        raise UserError(
            f"{name} is not a classifier of {', '.join(bundle.manifest.labels)}. Create the bundle "
            "again."
        )
    return model


def stacked_features(table: pa.Table, feature_set: str) -> Floats:
    """Return the features (n, width) of rows, with the sets of a union concatenated.

    Args:
        table: Rows that all have the features.
        feature_set: Name of a feature set or union.
    """
    return np.hstack([_matrix(table[feature_column(name)]) for name in sets_of(feature_set)])


def _matrix(column: pa.ChunkedArray) -> Floats:
    width = column.type.list_size
    flat = column.combine_chunks().flatten().to_numpy(zero_copy_only=False)
    return np.asarray(flat.reshape(-1, width), dtype=np.float64)
