"""The base class of all settings, and the fingerprint of a result."""

import hashlib
import json
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict


def absolute_text(value: Any) -> Any:
    """Make a path absolute, since workers have other working folders; a URI stays the same.

    Values of other types than text and paths are returned unchanged, for validation.
    """
    text = str(value) if isinstance(value, Path) else value
    if not isinstance(text, str) or not text or "://" in text:
        return text
    try:
        return str(Path(text).expanduser().absolute())
    except RuntimeError:  # the home folder of ~ is unknown
        return text


# A path or a URI, as text: `pathlib` would join the slashes of a URI.
PathText = Annotated[str, BeforeValidator(absolute_text)]


class StrictModel(BaseModel):
    """A frozen model that rejects unknown fields, NaN and infinity."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


def fingerprint(content: Any) -> str:
    """Compute the hex SHA-256 of the canonical JSON of `content`."""
    canonical = json.dumps(content, sort_keys=True, separators=(",", ":"), default=str)
    return hashlib.sha256(canonical.encode()).hexdigest()
