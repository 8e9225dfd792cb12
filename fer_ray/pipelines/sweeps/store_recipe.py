"""What defines a row besides its image: settings, models, and the code that ran."""

import platform
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fer_ray import __version__
from fer_ray.errors import UserError
from fer_ray.faces.landmarks import model_file, model_sha256
from fer_ray.models.bundles.bundle import Bundle
from fer_ray.settings.backbones import BACKBONES
from fer_ray.settings.base import fingerprint
from fer_ray.settings.root import Settings
from fer_ray.storage.environment import library_versions
from fer_ray.vocabulary import SCHEMA_VERSION

# Those that touch pixels or numbers. Ray, pyarrow and the like carry them, and change none.
LIBRARIES = ("opencv-python-headless", "dlib-bin", "dlib", "numpy", "pillow")
SVM_LIBRARIES = ("scikit-learn",)
NETWORK_LIBRARIES = ("keras", "tensorflow", "tensorflow-cpu")


@dataclass(frozen=True)
class Recipe:
    """All that rows are made by.

    Attributes:
        fingerprint: Hex SHA-256 over `content`; each row carries it.
        content: Settings, hashes of the models, and versions.
    """

    fingerprint: str
    content: dict[str, Any]


def recipe_of(settings: Settings, bundle: Bundle | None = None) -> Recipe:
    """The recipe of `settings`, with the models and libraries of this machine.

    Selection is no part of it: a sweep takes all images. Models count by their content.

    Args:
        settings: Of extraction and of the sweep.
        bundle: The model bundle whose answers rows carry, if any.

    Raises:
        UserError: A model is missing.
    """
    extract = settings.extract.model_dump(mode="json", exclude={"selection"})
    extract["landmarks"]["model"] = model_sha256(model_file(settings.extract.landmarks.model))
    versions = library_versions()
    libraries = LIBRARIES + (_libraries(bundle) if bundle else ())
    content = {
        "schema": SCHEMA_VERSION,
        "fer_ray": __version__,
        "libraries": {name: versions[name] for name in libraries if name in versions},
        "extract": extract,
        "faces": settings.sweep.faces,
        "bundle": bundle.sha256 if bundle else None,
    }
    if bundle and bundle.manifest.recipe.backbones:
        content["backbones"] = {
            name: one.weights_sha256 for name, one in bundle.manifest.recipe.backbones.items()
        }
    return Recipe(fingerprint(content), content)


def require_here(recipe: Recipe, landmark_model: Path | None) -> None:
    """See that this machine makes rows as the one did that the recipe is of.

    Args:
        recipe: That the rows will carry.
        landmark_model: As the settings name it.

    Raises:
        UserError: A model or a library is another one here.
    """
    differing = list(_differing(recipe.content, model_file(landmark_model)))
    if differing:
        raise UserError(
            f"The node {platform.node()} would make other rows than the driver: "
            f"{'; '.join(differing)}. Install the same on all nodes and run the same again."
        )


def _differing(content: dict[str, Any], landmark_model: Path) -> Iterator[str]:
    here = {**library_versions(), "fer_ray": __version__}
    theirs = {**content["libraries"], "fer_ray": content["fer_ray"]}
    for name in dict.fromkeys((*theirs, *LIBRARIES)):
        if here.get(name) != theirs.get(name):
            yield f"{name} is {here.get(name, 'missing')}, not {theirs.get(name, 'there')}"
    found, wanted = model_sha256(landmark_model), content["extract"]["landmarks"]["model"]
    if found != wanted:
        yield f"the landmark model {landmark_model} is {found[:16]}…, not {wanted[:16]}…"


def _libraries(bundle: Bundle) -> tuple[str, ...]:
    """Those that compute a model's answers, and the features of its backbones."""
    keras = any(BACKBONES[name].application for name in bundle.manifest.recipe.backbones)
    networks = NETWORK_LIBRARIES if keras or bundle.manifest.kind == "head" else ()
    return networks + (SVM_LIBRARIES if bundle.manifest.kind == "svm" else ())
