"""scikit-learn estimators as bytes and back, without pickle (skops).

skops itself trusts every estimator there is and some hundred functions. A bundle needs a handful of
types, so these alone are let through, before skops builds anything.
"""

import json
from collections.abc import Iterator
from io import BytesIO
from typing import Any
from zipfile import ZipFile

from fer_ray.errors import UserError

# Parts of a model, which skops does not know by itself: they are named to it.
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
# What a state is made of: how skops reads each kind of node, and the types that it may be.
NODES = {
    "ObjectNode": ESTIMATOR_TYPES,
    "DictNode": {"builtins.dict"},
    "ListNode": {"builtins.list"},
    "TupleNode": {"builtins.tuple"},
    "JsonNode": {"builtins.str", "builtins.int", "builtins.float", "builtins.bool"},
    "TypeNode": {"builtins.str"},  # of dictionary keys
    "NdArrayNode": {"numpy.ndarray", "numpy.float64", "numpy.int64", "numpy.int32", "numpy.int8"},
}
SCHEMA = "schema.json"  # of a skops file
SCHEMA_BYTES = 16_777_216  # more than any model of ours has


def dump_estimator(estimator: Any) -> bytes:
    """A fitted estimator as a skops file.

    Raises:
        ValueError: It holds a type that `load_estimator` would refuse.
    """
    from skops.io import dumps

    content: bytes = dumps(estimator)
    if strange := _strange_types(content):
        raise ValueError(f"not meant for a bundle: {', '.join(strange)}")
    return content


def load_estimator(content: bytes, name: str) -> Any:
    """The estimator in a skops file.

    Args:
        content: The file.
        name: What a message calls it.

    Raises:
        UserError: It is no skops file, or holds a type that no model of ours has. Nothing of it has
            been built by then.
    """
    from skops.io import loads

    try:
        strange = _strange_types(content)
    except Exception as problem:  # a stranger's archive may be broken in many ways
        raise UserError(f"{name} is no skops file ({problem}). Nothing of it was loaded.") from None
    if strange:
        raise UserError(
            f"{name} holds types that no fer_ray model has: {', '.join(strange)}. "
            "Nothing of it was loaded."
        )
    try:
        return loads(content, trusted=list(PRIVATE_TYPES))
    except Exception as problem:  # of whatever type the first part that does not fit raises
        raise UserError(f"{name} cannot be loaded as a skops file: {problem}") from None


def _strange_types(content: bytes) -> list[str]:
    """Types in a skops file that are not let through, as `type (node)`."""
    with ZipFile(BytesIO(content)) as opened:
        if opened.getinfo(SCHEMA).file_size > SCHEMA_BYTES:
            raise ValueError("its schema is too large")
        schema = json.loads(opened.read(SCHEMA))
    found = {
        f"{kind} ({loader})" for loader, kind in _nodes(schema) if kind not in NODES.get(loader, ())
    }
    return sorted(found)


def _nodes(tree: Any) -> Iterator[tuple[str, str]]:
    """Loader and type of every node, wherever it stands."""
    if isinstance(tree, dict):
        if "__loader__" in tree or "__class__" in tree:
            yield str(tree.get("__loader__")), f"{tree.get('__module__')}.{tree.get('__class__')}"
        tree = list(tree.values())
    if isinstance(tree, list):
        for part in tree:
            yield from _nodes(part)
