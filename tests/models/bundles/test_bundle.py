"""Damaged and forged bundles are rejected with the reason, and nothing in them runs."""

import hashlib
import json
import pickle
from io import BytesIO
from pathlib import Path
from typing import Any
from zipfile import ZipFile

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from sklearn.ensemble import RandomForestClassifier
from sklearn.preprocessing import FunctionTransformer, StandardScaler
from skops.io import dumps

from fer_ray.errors import UserError
from fer_ray.models.bundles.bundle import read_bundle
from fer_ray.models.bundles.predictor import Predictor
from fer_ray.models.bundles.skops_files import dump_estimator, load_estimator
from fer_ray.models.svm import build_svm
from fer_ray.settings.training import TrialSettings


def change(bundle: Path, **entries: Any) -> None:
    """Change `bundle.json`, as a forger would."""
    file = bundle / "bundle.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), **entries}))


def parquet_of(**columns: list[Any]) -> bytes:
    buffer = BytesIO()
    pq.write_table(pa.table(columns), buffer)
    return buffer.getvalue()


def forge(bundle: Path, content: bytes, name: str = "model.skops") -> None:
    """Replace a file, and its hash in `bundle.json`."""
    (bundle / name).write_bytes(content)
    files = json.loads((bundle / "bundle.json").read_text())["files"]
    change(bundle, files={**files, name: hashlib.sha256(content).hexdigest()})


class Payload:
    """Creates a file when it is unpickled."""

    def __init__(self, trace: Path) -> None:
        self.trace = trace

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.trace,)


def skops_calling(trace: Path) -> bytes:
    """A skops file of hand-written nodes: one calls `Path.touch`, another `os.system`."""
    path = {"__class__": "str", "__module__": "builtins", "__loader__": "JsonNode", "is_json": True,
            "content": json.dumps(str(trace))}  # fmt: skip
    arguments = {"__class__": "tuple", "__module__": "builtins", "__loader__": "TupleNode",
                 "content": [path]}  # fmt: skip
    schema = {
        "__class__": "system", "__module__": "os", "__loader__": "ReduceNode", "protocol": 2,
        "_skops_version": "0.16.0", "__reduce__": {"args": arguments}, "content": None,
    }  # fmt: skip
    buffer = BytesIO()
    with ZipFile(buffer, "w") as opened:
        opened.writestr("schema.json", json.dumps(schema))
    return buffer.getvalue()


def test_pickle_is_refused_and_does_not_run(bundle: Path, tmp_path: Path) -> None:
    trace = tmp_path / "trace"
    forge(bundle, pickle.dumps(Payload(trace)))
    with pytest.raises(UserError, match="not a skops file"):
        Predictor(bundle)
    assert not trace.exists()
    pickle.loads((bundle / "model.skops").read_bytes())  # it would have run
    assert trace.exists()


def test_function_calls_are_refused_and_do_not_run(bundle: Path, tmp_path: Path) -> None:
    forge(bundle, skops_calling(tmp_path / "trace"))
    with pytest.raises(UserError, match=r"os\.system \(ReduceNode\)"):
        Predictor(bundle)
    assert not (tmp_path / "trace").exists()


@pytest.mark.parametrize(
    ("estimator", "type_named"),
    [
        (RandomForestClassifier(n_estimators=2), "RandomForestClassifier"),
        (FunctionTransformer(np.exp), "FunctionTransformer"),
    ],
)
def test_other_types_that_skops_trusts_are_refused(estimator: Any, type_named: str) -> None:
    content = dumps(estimator)
    with pytest.raises(UserError, match=type_named):
        load_estimator(content, "model.skops")
    with pytest.raises(ValueError, match=type_named):
        dump_estimator(estimator)


def test_model_that_is_not_a_classifier(bundle: Path) -> None:
    forge(bundle, dumps(StandardScaler().fit([[0.0], [1.0]])))
    with pytest.raises(UserError, match="is not a classifier of neutral"):
        Predictor(bundle)


def test_changed_file(bundle: Path) -> None:
    model = bundle / "model.skops"
    content = bytearray(model.read_bytes())
    content[len(content) // 2] ^= 1
    model.write_bytes(content)
    digest = hashlib.sha256(content).hexdigest()[:16]
    with pytest.raises(UserError, match=f"model.skops is not the file.*{digest}.*not loaded"):
        Predictor(bundle)


def test_different_predictions_are_detected(bundle: Path) -> None:
    other = load_estimator((bundle / "model.skops").read_bytes(), "model.skops")
    other._intercept_ *= 1.01  # what libsvm reads
    forge(bundle, dump_estimator(other))
    with pytest.raises(UserError, match="does not reproduce its stored predictions"):
        Predictor(bundle)


def test_model_of_another_width(bundle: Path) -> None:
    labels = np.repeat(np.arange(8), 4).astype(np.int8)
    features = np.random.default_rng(1).normal(size=(32, 3)) + labels[:, None]
    narrow = build_svm("linear", TrialSettings(), 3).fit(features, labels)
    forge(bundle, dump_estimator(narrow))
    with pytest.raises(UserError, match=r"the model cannot predict the rows of check\.parquet"):
        Predictor(bundle)


@pytest.mark.parametrize(
    ("entries", "reason"),
    [
        ({"schema_version": 2}, "schema version 2; this version of fer_ray reads 4"),
        ({"kind": "oracle"}, "kind: Input should be"),
        ({"author": "x"}, "author: Extra inputs"),
        ({"labels": ["happy", "neutral"]}, "labels: .*in this order"),
        ({"files": {"../model.skops": "0" * 64}}, "not the name of a file next to"),
        ({"files": {"a\0": "0" * 64}}, "not the name of a file next to"),
        (
            {"files": {}},
            "does not list CARD.md, check.parquet, model.skops, trained_on.parquet, training_f",
        ),
    ],
)
def test_invalid_manifest(bundle: Path, entries: dict[str, Any], reason: str) -> None:
    change(bundle, **entries)
    with pytest.raises(UserError, match=reason):
        read_bundle(bundle)


@pytest.mark.parametrize(
    ("part", "entries"),
    [
        ("evidence", {"test_accuracy": 0.999}),
        ("evidence", {"protocol": "leave one subject out"}),
        ("training", {"how": "fitted on all"}),
        ("model", {"classifier": "svm-rbf"}),
    ],
)
def test_manifest_that_differs_from_its_card(
    bundle: Path, part: str, entries: dict[str, Any]
) -> None:
    was = json.loads((bundle / "bundle.json").read_text())[part]
    change(bundle, **{part: {**was, **entries}})
    with pytest.raises(UserError, match=r"CARD\.md does not match bundle\.json"):
        Predictor(bundle)


@pytest.mark.parametrize(
    ("feature_set", "reason"),
    [
        ("landmarks", "does not compute the features of the model, landmarks"),
        ("reference+mobilenet", "does not compute the features"),
        ("delta", "a single image has no delta"),
        ("non-sense", "specify one of"),
    ],
)
def test_recipe_of_other_features(bundle: Path, feature_set: str, reason: str) -> None:
    was = json.loads((bundle / "bundle.json").read_text())["model"]
    change(bundle, model={**was, "feature_set": feature_set})
    with pytest.raises(UserError, match=reason):
        read_bundle(bundle)


@pytest.mark.parametrize("name", ["check.parquet", "trained_on.parquet"])
@pytest.mark.parametrize("content", [b"", b"not a table", parquet_of(other=[1.0])])
def test_invalid_tables(bundle: Path, name: str, content: bytes) -> None:
    forge(bundle, content, name)
    with pytest.raises(UserError, match=f"{name.replace('.', '[.]')}"):
        Predictor(bundle)


def test_missing_files(bundle: Path, tmp_path: Path) -> None:
    (bundle / "CARD.md").unlink()
    with pytest.raises(UserError, match=r"cannot read CARD\.md"):
        read_bundle(bundle)
    with pytest.raises(UserError, match="is not a model bundle"):
        read_bundle(tmp_path)
    for text in ("{", "[" * 100_000, "\ud800"):
        (bundle / "bundle.json").write_text(text, errors="surrogatepass")
        with pytest.raises(UserError, match="is not valid JSON"):
            read_bundle(bundle)
    (bundle / "bundle.json").unlink()
    (bundle / "bundle.json").mkdir()
    with pytest.raises(UserError, match=r"cannot read bundle\.json .*Restore the file"):
        read_bundle(bundle)


def test_other_landmark_model(bundle: Path, tmp_path: Path) -> None:
    other = tmp_path / "other.dat"
    other.write_bytes(b"another predictor")
    digest = hashlib.sha256(b"another predictor").hexdigest()[:16]
    with pytest.raises(UserError, match=f"another landmark model.*{digest}.*--landmark-file"):
        Predictor(bundle).bundle.settings(other)
