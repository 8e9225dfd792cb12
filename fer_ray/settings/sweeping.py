"""Settings of sweeps: how a store follows its source. Only `faces` defines results."""

from typing import Literal

from pydantic import Field

from fer_ray.settings.base import StrictModel

Faces = Literal["one", "largest", "all"]


class SweepSettings(StrictModel):
    """How a sweep updates a store from its source."""

    faces: Faces = Field(
        "one",
        description="one: exactly one face or none, as in the reference study; largest, all: "
        "faces of the first cascade that finds any.",
    )
    gone: Literal["delete", "keep"] = Field(
        "delete", description="What happens to rows of images that are no longer in the source."
    )
    retry: Literal["none", "unread", "all"] = Field(
        "unread",
        description="Failed images to retry even if unchanged: none; unread: those that could not "
        "be read; all.",
    )
    max_error_share: float = Field(
        0.5, ge=0, le=1, description="A larger share of failed images fails the sweep."
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
    labels_gone: bool = Field(False, description="Accept that no image is labelled any more.")
    reread_share: float = Field(
        0,
        ge=0,
        le=1,
        description="Share of the seemingly unchanged images, by size and time, that are read "
        "again and compared.",
    )
    fuse_images: int = Field(
        20,
        ge=0,
        description="Stop if this many first images all fail with the same error; 0: never.",
    )
    commit_rows: int = Field(4_096, ge=1, description="Commit after this many finished rows,")
    commit_seconds: float = Field(
        30, gt=0, description="or after this time: the most work that a kill can cost."
    )
    retention_hours: int = Field(168, ge=1, description="How long earlier versions stay readable.")
    drift_alert: float = Field(
        0.1,
        gt=0,
        le=1,
        description="Change of a share, against previous sweeps, that raises an alert.",
    )
