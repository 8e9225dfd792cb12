"""What the report tells of the source: what became of each image, sizes, pixels, cascades."""

from fer_ray.evaluation.results import RunResults
from fer_ray.sources.quality import counted
from fer_ray.vocabulary import CASCADES, Status

Rows = list[tuple[str, ...]]

PIXELS = {  # of Pillow's modes
    "1": "black and white",
    "L": "gray",
    "LA": "gray with transparency",
    "I;16": "gray, 16 bit",
    "P": "palette",
    "RGB": "RGB",
    "RGBA": "RGB with transparency",
}
STATUS_MEANINGS = {
    Status.OK: "usable: one face, and its landmarks",
    Status.OK_BY_BOX: "usable: dlib found no face, the whole crop stood in for one",
    Status.UNREADABLE: "missing, empty, truncated, or no image at all",
    Status.TOO_LARGE: "more pixels or bytes than allowed: refused before decoding",
    Status.NO_FACE: "no cascade found any face",
    Status.SEVERAL_FACES: "no cascade found exactly one face, some found more",
    Status.NO_LANDMARKS: "dlib found no face in the crop",
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
    """Whether the counts by status, the selection and the frames tell the same number."""
    total = sum(run.extract["counts"].values())
    return bool(total == run.data["selected"] == len(run.frames))


def cascade_rows(run: RunResults) -> Rows:
    """How often each cascade decided."""
    decided = run.extract["cascades"]
    return [(name, str(decided.get(name, 0))) for name in CASCADES]


def picture_kinds(run: RunResults) -> str:
    """Sizes and pixel formats of the images that could be read, each with its count."""
    sizes, modes = run.data.get("sizes"), run.data.get("modes")
    if not sizes or not modes:
        return ""
    rest = sum(modes.values()) - sum(sizes.values())
    more = {"other sizes": rest} if rest else {}
    pixels = {PIXELS.get(mode, mode): count for mode, count in modes.items()}
    return f"Sizes: {counted(sizes | more)}. Pixels: {counted(pixels)}."
