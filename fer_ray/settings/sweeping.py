"""Settings of sweeps: how a store follows its source. None of them defines results."""

from typing import Literal

from pydantic import Field

from fer_ray.settings.base import StrictModel


class SweepSettings(StrictModel):
    """How a sweep updates a store from its source."""

    gone: Literal["delete", "keep"] = Field(
        "delete", description="What happens to rows of images that are no longer in the source."
    )
    retry: Literal["none", "unread", "all"] = Field(
        "unread",
        description="Which failed images to retry even if unchanged; unread: those that could not "
        "be read.",
    )
    max_error_share: float = Field(
        0.5, ge=0, le=1, description="If a larger share of the images fails, the exit code is 4."
    )
    max_gone_share: float = Field(
        0.5,
        ge=0,
        le=1,
        description="If a larger share of the store's images is missing, the source counts as "
        "lost.",
    )
    source_moved: bool = Field(
        False, description="Accept a source other than that of the previous sweep."
    )
    labels_gone: bool = Field(False, description="Accept that all labels have disappeared.")
    reread_share: float = Field(
        0,
        ge=0,
        le=1,
        description="Share of the images with unchanged size and time that are read again and "
        "compared.",
    )
    fuse_images: int = Field(
        20,
        ge=0,
        description="Stop if the first images, up to this number, all fail with the same error; 0: "
        "never.",
    )
    commit_rows: int = Field(65_536, ge=1, description="Commit after this many finished rows.")
    commit_seconds: float = Field(
        30,
        gt=0,
        description="Commit after this time at the latest; a killed sweep loses at most this much "
        "work.",
    )
    retention_hours: int = Field(
        168,
        ge=0,
        description="How long earlier versions stay readable. 0: a sweep removes them, with all "
        "earlier manifests and pages; nothing else may read or sweep the store in the meantime.",
    )
    drift_alert: float = Field(
        0.1,
        gt=0,
        le=1,
        description="Change of a share, against previous sweeps, that raises an alert.",
    )
