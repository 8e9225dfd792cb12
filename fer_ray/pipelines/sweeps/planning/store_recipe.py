"""The store recipe: the settings, models and library versions that define a store's rows."""

import platform
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from fer_ray import __version__
from fer_ray.errors import UserError
from fer_ray.faces.model_paths import model_hashes
from fer_ray.models.bundles.bundle import Bundle
from fer_ray.settings.base import fingerprint
from fer_ray.settings.extraction import ExtractSettings
from fer_ray.settings.root import Settings
from fer_ray.storage.environment import library_versions
from fer_ray.vocabulary import SCHEMA_VERSION

# Libraries that compute pixels or features. Others, such as Ray and pyarrow, only transport them.
LIBRARIES = ("opencv-python-headless", "dlib-bin", "dlib", "numpy", "pillow")
SVM_LIBRARIES = ("scikit-learn",)
NETWORK_LIBRARIES = ("keras", "tensorflow", "tensorflow-cpu")


@dataclass(frozen=True)
class StoreRecipe:
    """Everything other than the image that defines a row.

    Attributes:
        fingerprint: Hex SHA-256 of `content`, stored in each row.
        content: Settings, SHA-256 of the models, and versions.
    """

    fingerprint: str
    content: dict[str, Any]


def build_store_recipe(settings: Settings, bundle: Bundle | None = None) -> StoreRecipe:
    """Build the recipe of `settings` with the models and libraries of this machine.

    The selection of images is not part of it, since a sweep processes all images. Models are
    identified by their content, not by their path.

    Args:
        settings: Extraction and sweep settings.
        bundle: The model bundle whose predictions the rows contain, if any.

    Raises:
        UserError: A model file is missing.
    """
    extract = settings.extract.model_dump(
        mode="json", exclude={"selection": True, "crop": {"file"}, "landmarks": {"file"}}
    )
    versions = library_versions()
    libraries = LIBRARIES + (_model_libraries(bundle) if bundle else ())
    content = {
        "schema": SCHEMA_VERSION,
        "fer_ray": __version__,
        "libraries": {name: versions[name] for name in libraries if name in versions},
        "extract": extract,
        "models": model_hashes(settings.extract),
        "bundle": bundle.sha256 if bundle else None,
    }
    if bundle:
        content["predict"] = settings.predict.model_dump(mode="json")
    if bundle and bundle.manifest.recipe.backbones:
        content["backbones"] = {
            name: backbone.weights_sha256
            for name, backbone in bundle.manifest.recipe.backbones.items()
        }
    return StoreRecipe(fingerprint(content), content)


def _model_libraries(bundle: Bundle) -> tuple[str, ...]:
    """The libraries that compute a bundle's predictions and the features of its backbones."""
    backbones = bundle.manifest.recipe.backbones
    keras = any(backbone.spec(name).needs_keras for name, backbone in backbones.items())
    networks = NETWORK_LIBRARIES if keras or bundle.manifest.kind == "head" else ()
    return networks + (SVM_LIBRARIES if bundle.manifest.kind == "svm" else ())


def require_same_recipe(recipe: StoreRecipe, settings: ExtractSettings) -> None:
    """Check that this machine has the libraries and the model files of `recipe`.

    Args:
        recipe: The recipe of the rows to compute.
        settings: The extraction settings, with the paths of model files.

    Raises:
        UserError: A model or a library version differs.
    """
    differences = list(_differences(recipe.content, model_hashes(settings)))
    if differences:
        raise UserError(
            f"The node {platform.node()} would compute different rows from the driver: "
            f"{'; '.join(differences)}. Install the same versions on all nodes, then rerun the "
            "command."
        )


def _differences(content: dict[str, Any], hashes: dict[str, str]) -> Iterator[str]:
    installed = {**library_versions(), "fer_ray": __version__}
    expected = {**content["libraries"], "fer_ray": content["fer_ray"]}
    for name in dict.fromkeys((*expected, *LIBRARIES)):
        if installed.get(name) != expected.get(name):
            here = installed.get(name, "not installed")
            yield f"{name} is {here}, expected {expected.get(name, 'not installed')}"
    for name, expected_sha256 in content["models"].items():
        if hashes[name] != expected_sha256:
            kind = "landmark model" if name == "landmarks" else name
            yield (
                f"the file of the {kind} has SHA-256 {hashes[name][:16]}…, expected "
                f"{expected_sha256[:16]}…"
            )
