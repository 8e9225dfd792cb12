"""Settings and paths as callers of the API pass them."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, get_args

from fer_ray.errors import UserError
from fer_ray.settings.extraction import ExtractSettings, Faces
from fer_ray.settings.loading import build_settings, load_settings
from fer_ray.settings.root import Profile, Settings
from fer_ray.storage.paths import to_path

GivenPath = str | Path
# Settings; values by name, such as {"trials.C": 0.5}; or a YAML file of settings.
GivenSettings = Settings | Mapping[str, Any] | GivenPath | None


def read_settings(given: GivenSettings, profile: Profile | None = None) -> Settings:
    """Build the settings of a job.

    Args:
        given: Settings, values by name, or a YAML file.
        profile: Named set of values. None: that of `given`. Other values of `given` take
            precedence over it.

    Raises:
        UserError: A setting is unknown or out of range, or the file cannot be read.
    """
    if isinstance(given, Settings):
        tree = given.model_dump(exclude_unset=True)
        return given if profile is None else build_settings({**tree, "profile": profile})
    if isinstance(given, str | Path):
        return load_settings(to_path(given), (f"profile={profile}",) if profile else ())
    return build_settings({**(given or {}), **({"profile": profile} if profile else {})})


def with_faces(settings: ExtractSettings, faces: Faces | None) -> ExtractSettings:
    """Change which faces of an image get a row. None: no change.

    Raises:
        UserError: `faces` is not one of the choices.
    """
    if faces is None:
        return settings
    if faces not in get_args(Faces):
        raise UserError(f"faces={faces!r}: specify one of {', '.join(get_args(Faces))}.")
    crop = settings.crop.model_copy(update={"faces": faces})
    return settings.model_copy(update={"crop": crop})
