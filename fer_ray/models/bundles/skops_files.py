"""Saving and loading scikit-learn estimators without pickle (skops).

By default, skops trusts all of scikit-learn's estimators and about a hundred functions. A bundle
needs only a handful of types, and only these are allowed, before skops creates any object.
"""

import json
from collections.abc import Iterator
from io import BytesIO
from typing import Any
from zipfile import ZipFile

from fer_ray.errors import UserError

# Parts of a model that skops does not trust by default, so they are passed to it by name.
PRIVATE_TYPES = (
    "sklearn.calibration._CalibratedClassifier",
    "sklearn.calibration._SigmoidCalibration",
    "fer_ray.models.scaling.SetScaler",
)
ESTIMATOR_TYPES = {
    "sklearn.calibration.CalibratedClassifierCV",
    "sklearn.pipeline.Pipeline",
    "sklearn.preprocessing._data.StandardScaler",
    "sklearn.svm._classes.SVC",
    *PRIVATE_TYPES,
}
# The allowed types of each kind of skops node.
NODES = {
    "ObjectNode": ESTIMATOR_TYPES,
    "DictNode": {"builtins.dict"},
    "ListNode": {"builtins.list"},
    "TupleNode": {"builtins.tuple"},
    "JsonNode": {"builtins.str", "builtins.int", "builtins.float", "builtins.bool"},
    "TypeNode": {"builtins.str"},  # of dictionary keys
    "NdArrayNode": {"numpy.ndarray", "numpy.float64", "numpy.int64", "numpy.int32", "numpy.int8"},
}
SCHEMA = "schema.json"  # in a skops file
MAX_SCHEMA_BYTES = 16_777_216  # larger than that of any fer_ray model


def dump_estimator(estimator: Any) -> bytes:
    """Save a fitted estimator as a skops file.

    Raises:
        ValueError: It contains a type that `load_estimator` would refuse.
    """
    from skops.io import dumps

    content: bytes = dumps(estimator)
    if forbidden := _forbidden_types(content):
        raise ValueError(f"not allowed in a bundle: {', '.join(forbidden)}")
    return content


def load_estimator(content: bytes, name: str) -> Any:
    """Load the estimator in a skops file.

    Args:
        content: Bytes of the file.
        name: Name of the file in messages.

    Raises:
        UserError: It is not a skops file, or contains a type that fer_ray models do not have. In
            either case, no object was created.
    """
    from skops.io import loads

    try:
        forbidden = _forbidden_types(content)
    except Exception as problem:  # an untrusted archive can be damaged in many ways
        raise UserError(
            f"{name} is not a skops file ({problem}). Nothing in it was loaded. Create the bundle "
            "again."
        ) from None
    if forbidden:
        raise UserError(
            f"{name} contains types that fer_ray models do not have: {', '.join(forbidden)}. "
            "Nothing in it was loaded. Use a bundle that fer_ray created."
        )
    try:
        return loads(content, trusted=list(PRIVATE_TYPES))
    except Exception as problem:  # any error of the first part that does not fit
        raise UserError(
            f"Cannot load {name} as a skops file: {problem}\nCreate the bundle again."
        ) from None


def _forbidden_types(content: bytes) -> list[str]:
    """Types in a skops file that are not allowed, as `type (node)`."""
    with ZipFile(BytesIO(content)) as archive:
        if archive.getinfo(SCHEMA).file_size > MAX_SCHEMA_BYTES:
            raise ValueError("its schema is too large")
        schema = json.loads(archive.read(SCHEMA))
    forbidden = {
        f"{kind} ({loader})" for loader, kind in _nodes(schema) if kind not in NODES.get(loader, ())
    }
    return sorted(forbidden)


def _nodes(tree: Any) -> Iterator[tuple[str, str]]:
    """Loader and type of every node at any depth."""
    if isinstance(tree, dict):
        if "__loader__" in tree or "__class__" in tree:
            yield str(tree.get("__loader__")), f"{tree.get('__module__')}.{tree.get('__class__')}"
        tree = list(tree.values())
    if isinstance(tree, list):
        for part in tree:
            yield from _nodes(part)
