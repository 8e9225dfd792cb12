"""A fuse that stops a sweep before any commit if the first images all fail with the same error."""

from fer_ray.errors import UserError
from fer_ray.vocabulary import ExitCode, Status

FAULTS = (Status.CRASHED, Status.TIMED_OUT)


class FuseError(UserError):
    """All images so far failed with the same error."""

    exit_code = ExitCode.FUSE


class Fuse:
    """Watches the first results of a sweep. While it is `armed`, nothing may be committed.

    Args:
        images: Number of identical failures that blows the fuse; 0 disables it.

    Attributes:
        armed: Whether all results so far are failures with the same error.
    """

    def __init__(self, images: int) -> None:
        self.armed = images > 0
        self._max_failures = images
        self._failures = 0
        self._error: str | None = None

    def check(self, outcomes: list[tuple[str, str | None]]) -> None:
        """Check status and error of the next results.

        Raises:
            FuseError: All images so far failed with the same error, and the limit is reached.
        """
        if not self.armed:
            return
        for status, error in outcomes:
            self._error = error if self._error is None else self._error
            if status not in FAULTS or error != self._error:
                self.armed = False
                return
            self._failures += 1
        if self._failures >= self._max_failures:
            raise FuseError(
                f"All of the first {self._failures} images failed with the same error: "
                f"{self._error}\nThe installation is the likely cause, not the images. Nothing was "
                "changed. Run `fer-ray doctor` to check the installation, or pass --set "
                "sweep.fuse_images=0 to continue anyway."
            )
