"""TODO."""

from typing import Literal

from pydantic import Field

from fer_ray.settings.base import Strict


class SweepSettings(Strict):
    """How a store is kept in step with its source. Only `faces` defines results."""

    # one: the study's rule, a single face or none; largest, all: of the first cascade with a face.
    faces: Literal["one", "largest", "all"] = "one"
    gone: Literal["delete", "keep"] = "delete"  # rows of images that the source no longer has
    # Which failed images are tried again though they have not changed: none, those that could not
    # even be read, or all.
    retry: Literal["none", "unread", "all"] = "unread"
    image_seconds: float = Field(60, gt=0)  # to read an image, and to describe it; then it is over
    max_error_share: float = Field(0.5, ge=0, le=1)  # of the source's images; more fails the sweep
    # More rows than this share gone at once is taken for a source that is not all there.
    max_gone_share: float = Field(0.5, ge=0, le=1)
    source_moved: bool = False  # the source is another one than the last sweep's, and it is meant
    labels_gone: bool = False  # no image has a label any more, and it is meant
    # So many of the images that look unchanged, by size and time, are read again and compared.
    reread_share: float = Field(0, ge=0, le=1)
    # The first so many images that all raise the same error end the sweep; 0: never.
    fuse_images: int = Field(20, ge=0)
    commit_rows: int = Field(4_096, ge=1)  # finished rows are committed at this number,
    commit_seconds: float = Field(30, gt=0)  # or after this time: what a kill may cost
    retention_hours: int = Field(168, ge=1)  # for which earlier versions can be read again
    drift_alert: float = Field(0.1, gt=0, le=1)  # change of a share since the last sweeps
