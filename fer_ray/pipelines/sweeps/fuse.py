"""A fuse: if the first images all fail with the same error, the sweep stops before any commit."""

import pyarrow as pa

from fer_ray.errors import UserError
from fer_ray.vocabulary import ExitCode, Status

FAULTS = (Status.CRASHED, Status.TIMED_OUT)


class FuseError(UserError):
    """Every image so far raised the same error."""

    exit_code = ExitCode.FUSE


class Fuse:
    """Looks at the first images; while it is `armed`, nothing is to be committed.

    Args:
        images: How many must fail alike; 0: the fuse is off.
    """

    def __init__(self, images: int) -> None:
        self._images = images
        self._seen = 0
        self._error: str | None = None
        self.armed = images > 0

    def note(self, results: pa.Table) -> None:
        """Look at the next results.

        Raises:
            FuseError: So many images failed alike, and no other came out in another way.
        """
        if not self.armed:
            return
        outcomes = zip(results["status"].to_pylist(), results["error"].to_pylist(), strict=True)
        for status, error in outcomes:
            self._error = error if self._error is None else self._error
            if status not in FAULTS or error != self._error:
                self.armed = False
                return
            self._seen += 1
        if self._seen >= self._images:
            raise FuseError(
                f"All of the first {self._seen} images failed alike: {self._error}\nSo it is not "
                "the images; nothing was changed. `fer-ray doctor` looks into the installation; "
                "--set sweep.fuse_images=0 goes on all the same."
            )
