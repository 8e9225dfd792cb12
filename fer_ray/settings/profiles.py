"""Profiles: named sets of parameters, as what each sets beside the defaults."""

from typing import Any

from pydantic import BaseModel

# reference: the study. fast: what it finds, sooner; docs/how-to/features.md says what may differ.
PROFILES: dict[str, dict[str, Any]] = {
    "reference": {},
    "fast": {
        "extract": {
            # Crops have 350 px; a face of half the frame still fills them.
            "decode": {"reduce_to_px": 720},
            # A face of less than 1/16 of the frame holds no expression that could be read.
            "crop": {"search": "coarse-to-fine", "min_face_share": 0.0625},
            # A cascade's box is filled by its face; dlib finds it at 2/3 to 1 of the crop's side.
            "landmarks": {"channels": 1, "min_face_share": 0.6},
        }
    },
}


def with_profile(given: dict[str, Any]) -> dict[str, Any]:
    """What is given, laid over what the profile that it names sets."""
    return _laid_over(PROFILES.get(str(given.get("profile")), {}), given)


def _laid_over(below: dict[str, Any], above: dict[str, Any]) -> dict[str, Any]:
    merged = {**below, **above}
    for name, value in below.items():
        given = above.get(name)
        if isinstance(given, BaseModel):
            given = given.model_dump(exclude_unset=True)
        if isinstance(value, dict) and isinstance(given, dict):
            merged[name] = _laid_over(value, given)
    return merged
