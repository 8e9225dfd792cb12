"""Tables about the source of a run: statuses, image sizes and formats, face detectors."""

from fer_ray.evaluation.experiments.results import RunResults
from fer_ray.sources.quality import format_counts
from fer_ray.vocabulary import Status

Rows = list[tuple[str, ...]]

PIXEL_FORMATS = {  # by Pillow's modes
    "1": "black and white",
    "L": "gray",
    "LA": "gray with transparency",
    "I;16": "gray, 16 bit",
    "P": "palette",
    "RGB": "RGB",
    "RGBA": "RGB with transparency",
}
STATUS_MEANINGS = {
    Status.OK: "usable: one face with landmarks",
    Status.OK_BY_BOX: "usable: dlib found no face in the crop, the complete crop was used",
    Status.UNREADABLE: "missing, empty, truncated, or not an image",
    Status.TOO_LARGE: "above a limit of pixels or bytes: rejected before decoding",
    Status.NO_FACE: "no face was found",
    Status.SEVERAL_FACES: "several faces were found, and no cascade found exactly one",
    Status.NO_LANDMARKS: "a face was found, but no landmarks",
    Status.CRASHED: "the process died while processing the image",
    Status.TIMED_OUT: "processing took longer than the time limit",
}


def status_rows(run: RunResults) -> Rows:
    """Each status with its count and meaning; statuses without images are left out."""
    counts = run.extract["counts"]
    return [
        (status.value, str(counts[status.value]), meaning)
        for status, meaning in STATUS_MEANINGS.items()
        if counts.get(status.value)
    ]


def counts_agree(run: RunResults) -> bool:
    """Return whether the counts by status, the selection and the frames have the same total."""
    total = sum(run.extract["counts"].values())
    return bool(total == run.data["selected"] == len(run.frames))


def detector_rows(run: RunResults) -> Rows:
    """The number of images in which each cascade or network found the face."""
    return [(name, str(count)) for name, count in run.extract["detectors"].items()]


def image_formats(run: RunResults) -> str:
    """Sizes and pixel formats of the readable images with their counts, as a sentence."""
    sizes, modes = run.data.get("sizes"), run.data.get("modes")
    if not sizes or not modes:
        return ""
    rest = sum(modes.values()) - sum(sizes.values())
    other = {"other sizes": rest} if rest else {}
    formats = {PIXEL_FORMATS.get(mode, mode): count for mode, count in modes.items()}
    return f"Sizes: {format_counts(sizes | other)}. Pixels: {format_counts(formats)}."
