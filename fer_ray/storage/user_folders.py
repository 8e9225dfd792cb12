"""Folders of the user outside of run folders: home, cache and temporary files.

In containers, a home folder may be missing, read-only or `/`. What would be written to it then
goes to the temporary folder, so a job needs a single writable folder.
"""

import logging
import os
import tempfile
from functools import cache
from pathlib import Path

from fer_ray.errors import UserError

logger = logging.getLogger(__name__)


def prepare_folders() -> None:
    """Require a temporary folder, and set HOME if this user has no home folder.

    Libraries, among them Ray Tune, cannot be imported if the home folder is unknown.

    Raises:
        UserError: No temporary folder can be written.
    """
    try:
        tempfile.gettempdir()
    except FileNotFoundError:
        raise UserError(
            "No folder for temporary files is writable. Set TMPDIR to a writable folder."
        ) from None
    home = home_folder()
    if home is None:
        os.environ["HOME"] = str(_substitute_home())
        _warn_of_substitute()
    elif not _can_create(home / ".config" / "matplotlib" / "fonts"):
        os.environ.setdefault("MPLCONFIGDIR", str(_substitute_home() / "matplotlib"))


def home_folder() -> Path | None:
    """The home folder of this user; None if it is unknown (HOME is not set, unknown user id)."""
    try:
        return Path.home()
    except RuntimeError:
        return None


def cache_path(variable: str, default: str, *parts: str) -> Path:
    """The path of a file in a cache: where it exists, or where it can be written.

    Args:
        variable: Environment variable that names the folder of the cache.
        default: The folder of the cache in the home folder.
        parts: Path of the file in the cache.

    Returns:
        A path in the cache, or in the temporary folder if the file is missing and the cache cannot
        be written.
    """
    named = os.environ.get(variable)
    if named:
        return Path(named).expanduser().absolute().joinpath(*parts)
    home = home_folder()
    file = (home / default).joinpath(*parts) if home else None
    if file and (file.exists() or _can_create(file)):
        return file
    _warn_of_substitute()
    return _substitute_home().joinpath(default, *parts)


def _can_create(file: Path) -> bool:
    existing = next(folder for folder in file.parents if folder.exists())
    return existing.is_dir() and os.access(existing, os.W_OK | os.X_OK)


@cache
def _substitute_home() -> Path:
    """A folder in place of a home folder that is not writable; accessible to this user only."""
    folder = Path(tempfile.gettempdir()) / f"fer-ray-{os.getuid()}"
    try:
        folder.mkdir(mode=0o700, exist_ok=True)
        owned = folder.stat().st_uid == os.getuid() and not folder.is_symlink()
    except OSError:
        owned = False
    if not owned:  # another user could have put files there
        folder = Path(tempfile.mkdtemp(prefix="fer-ray-"))
    return folder


@cache
def _warn_of_substitute() -> None:
    logger.warning(
        "no home folder can be written, so downloads are stored in %s. Set HOME to a writable "
        "folder to reuse them.", _substitute_home(),
    )  # fmt: skip
