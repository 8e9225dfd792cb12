"""Saving and loading scikit-learn estimators without pickle (skops).

By default, skops trusts all of scikit-learn's estimators and about a hundred functions. A bundle
needs only a handful of types, and only these are allowed, before any object is created.

skops saves estimators. It lists the types that it trusts when it is imported, for which it imports
all of scikit-learn. Loading therefore does without it: the few kinds of nodes are rebuilt here.
"""

import importlib
import json
from collections.abc import Iterator
from io import BytesIO
from typing import Any
from zipfile import ZipFile

import numpy as np

from fer_ray.errors import UserError

ESTIMATOR_TYPES = {
    "sklearn.pipeline.Pipeline",
    "sklearn.preprocessing._data.StandardScaler",
    "sklearn.svm._classes.SVC",
    "fer_ray.models.linear_svm.LinearSvm",
    "fer_ray.models.scaling.SetScaler",
}
# The allowed types of each kind of skops node.
NODES = {
    "ObjectNode": ESTIMATOR_TYPES,
    "DictNode": {"builtins.dict"},
    "ListNode": {"builtins.list"},
    "TupleNode": {"builtins.tuple"},
    "JsonNode": {"builtins.str", "builtins.int", "builtins.float", "builtins.bool"},
    "TypeNode": {"builtins.str"},  # the types of dictionary keys
    "NdArrayNode": {"numpy.ndarray", "numpy.float64", "numpy.int64", "numpy.int32", "numpy.int8"},
}
SCHEMA = "schema.json"  # name of the schema in a skops file
MAX_PROTOCOL = 2  # of skops; until then, the kinds of nodes in `NODES` have not changed
MAX_SCHEMA_BYTES = 16_777_216  # larger than that of any fer_ray model


def dump_estimator(estimator: Any) -> bytes:
    """Save a fitted estimator as a skops file.

    Raises:
        ValueError: It contains a type that `load_estimator` would refuse.
    """
    from skops.io import dumps

    content: bytes = dumps(estimator)
    if forbidden := _forbidden_types(_read_schema(content)):
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
    try:
        schema = _read_schema(content)
        forbidden = _forbidden_types(schema)
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
        if schema["protocol"] > MAX_PROTOCOL:
            raise ValueError(f"its protocol is {schema['protocol']}, not {MAX_PROTOCOL} or earlier")
        return _NodeReader(content).build(schema)
    except Exception as problem:  # any error of the first part that does not fit
        raise UserError(
            f"Cannot load {name} as a skops file: {problem}\nCreate the bundle again."
        ) from None


class _NodeReader:
    """Rebuilds the objects of a skops file whose types are all allowed."""

    def __init__(self, content: bytes) -> None:
        self._archive = ZipFile(BytesIO(content))
        self._built: dict[int, Any] = {}  # by ID, since objects may be shared

    def build(self, node: dict[str, Any]) -> Any:
        """The object of a node, with all objects that it contains."""
        if node["__id__"] not in self._built:
            self._built[node["__id__"]] = self._build(node)
        return self._built[node["__id__"]]

    def _build(self, node: dict[str, Any]) -> Any:
        match node["__loader__"]:
            case "ObjectNode":
                return self._build_object(node)
            case "DictNode":
                return {key: self.build(value) for key, value in node["content"].items()}
            case "ListNode":
                return [self.build(item) for item in node["content"]]
            case "TupleNode":
                return tuple(self.build(item) for item in node["content"])
            case "JsonNode":
                return json.loads(node["content"])
            case "NdArrayNode":
                stored = BytesIO(self._archive.read(node["file"]))
                values = np.load(stored, allow_pickle=False)
                return values if node["__class__"] == "ndarray" else _type_of(node)(values)
        raise ValueError(f"it has an unexpected {node['__loader__']}")

    def _build_object(self, node: dict[str, Any]) -> Any:
        kind = _type_of(node)
        instance, state = kind.__new__(kind), self.build(node["content"])
        if hasattr(instance, "__setstate__"):  # of scikit-learn: it warns of other versions
            instance.__setstate__(state)
        else:
            instance.__dict__.update(state)
        return instance


def _type_of(node: dict[str, Any]) -> Any:
    return getattr(importlib.import_module(node["__module__"]), node["__class__"])


def _read_schema(content: bytes) -> dict[str, Any]:
    with ZipFile(BytesIO(content)) as archive:
        if archive.getinfo(SCHEMA).file_size > MAX_SCHEMA_BYTES:
            raise ValueError("its schema is too large")
        schema: dict[str, Any] = json.loads(archive.read(SCHEMA))
    return schema


def _forbidden_types(schema: dict[str, Any]) -> list[str]:
    """Types in a skops file that are not allowed, as `type (node)`."""
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
