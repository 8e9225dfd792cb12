"""The columns of the tables in run folders; `store_schemas` has those of stores.

Imports pyarrow only. Increase `SCHEMA_VERSION` when a column changes its name, type or meaning.
"""

import pyarrow as pa

from fer_ray.vocabulary import CASCADES, EMOTIONS, N_LANDMARKS


def vector(width: int, value_type: pa.DataType | None = None) -> pa.DataType:
    """The Arrow type of a vector column: a fixed-size list, by default of float32."""
    return pa.list_(value_type or pa.float32(), width)


LISTING_FIELDS = (
    # Unique. CK+: S005_001_00000011; tables of AffectNet: train/ and the path; otherwise the path.
    pa.field("image_id", pa.string(), nullable=False),
    pa.field("path", pa.string(), nullable=False),  # relative to the source, with forward slashes
    pa.field("subject", pa.string()),  # null if unknown
    pa.field("session", pa.string()),  # CK+: sequence of the subject
    pa.field("frame", pa.int32()),  # frame number within the sequence
    pa.field("role", pa.string(), nullable=False),  # Role
    pa.field("emotion", pa.string()),  # one of EMOTIONS, null if unlabelled
    pa.field("label", pa.int8()),  # its code, null if unlabelled
    # The further columns of a labels file by their names; null if there are none.
    pa.field("attributes", pa.map_(pa.string(), pa.string())),
)

LISTING_SCHEMA = pa.schema(LISTING_FIELDS)

# Of tables that may have several rows per image.
FACE_FIELDS = (
    pa.field("face_index", pa.int16(), nullable=False),  # from 0, the largest face first
    pa.field("face_id", pa.string()),  # from content and box, stable across jobs; null: no face
)

OUTCOME_FIELDS = (
    pa.field("status", pa.string(), nullable=False),  # Status
    pa.field("stage", pa.string(), nullable=False),  # Stage
    pa.field("error", pa.string()),  # why the image is not ok, null if it is
    pa.field("sha256", pa.string()),  # of the file's bytes, null if it could not be read
    # Pillow's name of the stored pixel format: L, RGB, I;16, … A note in brackets follows if the
    # values use only part of the format's range.
    pa.field("mode", pa.string()),
    # Pixels of the full-size image; from its header if it was not decoded.
    pa.field("width", pa.int32()),
    pa.field("height", pa.int32()),
    # What found the face: one of CASCADES, blazeface, or whole for an image that is a face.
    pa.field("detector", pa.string()),
    pa.field("detector_score", pa.float32()),  # from 0 to 1; null for cascades
    # The crop's square before it is rotated, in image pixels; may extend beyond the image.
    pa.field("box_xywh", vector(4, pa.int32())),
    pa.field("crop_angle", pa.float32()),  # clockwise rotation of the square, in degrees
    pa.field("other_faces", pa.int16()),  # faces in the image that have no row
    pa.field("sharpness", pa.float32()),  # variance of the crop's Laplacian at 128 px
    pa.field("brightness", pa.float32()),  # mean gray value of the crop, 0 to 255
    # Faces found by each cascade that ran; null for the others.
    pa.field("cascade_faces", pa.struct([(name, pa.int16()) for name in CASCADES])),
    pa.field("landmark_faces", pa.int16()),  # faces that the landmark model found
    pa.field("landmarks_xy", vector(2 * N_LANDMARKS)),  # x0 y0 x1 y1 …, crop pixels
    # Head pose in degrees, from the face mesh: the nose to the right edge of the image, upwards,
    # and the head tilted clockwise are positive.
    pa.field("yaw", pa.float32()),
    pa.field("pitch", pa.float32()),
    pa.field("roll", pa.float32()),
)
OUTCOME_TYPES = {field.name: field.type for field in OUTCOME_FIELDS}


def feature_column(name: str) -> str:
    """Name of the column of `frames` for the feature set `name`."""
    return f"features_{name}"


def frames_schema(feature_widths: dict[str, int]) -> pa.Schema:
    """Schema of `DIR/frames/*.parquet`: one row per selected image.

    Args:
        feature_widths: Values per image of each feature set, by name.
    """
    features = [
        pa.field(feature_column(name), vector(width)) for name, width in feature_widths.items()
    ]
    return pa.schema([*LISTING_FIELDS, *OUTCOME_FIELDS, *features])


def bottleneck_schema(width: int) -> pa.Schema:
    """Schema of `DIR/bottleneck/BACKBONE/*.parquet`.

    One row per usable image, or per draw of one.

    Args:
        width: Values per image: channels if pooled, otherwise rows · columns · channels of the map.
    """
    return pa.schema(
        [
            pa.field("image_id", pa.string(), nullable=False),
            pa.field("sha256", pa.string(), nullable=False),  # of the image's file
            pa.field("draw", pa.int16()),  # augmented copy, from 0; null: the original crop
            pa.field("backbone", pa.string(), nullable=False),
            pa.field("weights_sha256", pa.string(), nullable=False),
            pa.field("preprocessing", pa.string(), nullable=False),
            pa.field("features", vector(width), nullable=False),
        ]
    )


def prediction_fields(labels: tuple[str, ...]) -> list[pa.Field]:
    """Fields that a model bundle appends to an extracted row; null if the row has no features.

    The probabilities are calibrated, and the most probable class is predicted.

    Args:
        labels: Classes of the model, in the order of its probabilities.
    """
    probabilities = [pa.field(f"p_{name}", pa.float64()) for name in labels]
    return [
        pa.field("predicted", pa.string()),  # one of `labels`
        pa.field("answer", pa.string()),  # `predicted`, or ABSTAINED
        pa.field("probability", pa.float64()),  # of the predicted class
        *probabilities,  # with sum 1
        # Classes that contain the true one with the coverage of the bundle, most probable first.
        pa.field("prediction_set", pa.list_(pa.string())),
        # How unusual the face is: distance from the nearest training faces (1: as the median one),
        # and the share of training faces that are at least as far from other people's.
        pa.field("ood_score", pa.float64()),
        pa.field("ood_p_value", pa.float64()),
        pa.field("bundle_sha256", pa.string(), nullable=False),  # of bundle.json
    ]


def predicted_images_schema(labels: tuple[str, ...]) -> pa.Schema:
    """Schema of `DIR/predictions/*.parquet` of `fer-ray predict`.

    One row per face of each image, or one row without a face.
    """
    fields = [*LISTING_FIELDS, *FACE_FIELDS, *OUTCOME_FIELDS, *prediction_fields(labels)]
    return pa.schema(fields)


# `DIR/trials/*.parquet`: one row per trial (or fold), one file per experiment. An experiment is a
# classifier, a feature set and a protocol.
TRIALS_SCHEMA = pa.schema(
    [
        pa.field("experiment", pa.string(), nullable=False),  # svm-linear-reference-random
        pa.field("fingerprint", pa.string(), nullable=False),  # of its settings and data
        pa.field("classifier", pa.string(), nullable=False),  # svm-…, search, or a head
        pa.field("feature_set", pa.string(), nullable=False),
        pa.field("protocol", pa.string(), nullable=False),  # such as random
        pa.field("trial", pa.int32(), nullable=False),  # from 0; the number of the fold for folds
        pa.field("seed", pa.int64(), nullable=False),
        pa.field("n_train", pa.int32(), nullable=False),
        pa.field("n_test", pa.int32(), nullable=False),
        # Share of test images whose subject is also in training; null if no subject is known.
        pa.field("test_subject_in_train", pa.float64()),
        pa.field("train_accuracy", pa.float64(), nullable=False),
        pa.field("test_accuracy", pa.float64(), nullable=False),
        pa.field("train_log_loss", pa.float64(), nullable=False),  # nats
        pa.field("test_log_loss", pa.float64(), nullable=False),
        pa.field("test_macro_recall", pa.float64(), nullable=False),  # over classes in the test set
        pa.field("test_macro_f1", pa.float64(), nullable=False),
        pa.field("seconds", pa.float64(), nullable=False),  # fitting, calibration and scoring
    ]
)

# `DIR/predictions/*.parquet`: one row per trial and test image.
PREDICTIONS_SCHEMA = pa.schema(
    [
        pa.field("experiment", pa.string(), nullable=False),
        pa.field("trial", pa.int32(), nullable=False),
        pa.field("image_id", pa.string(), nullable=False),
        pa.field("label", pa.int8(), nullable=False),
        pa.field("predicted", pa.int8(), nullable=False),
        # By class code; 0 for a class without training images.
        pa.field("probabilities", vector(len(EMOTIONS)), nullable=False),
    ]
)

# `DIR/heads/*.history.parquet`: one row per trial and epoch of a head's training.
HISTORY_SCHEMA = pa.schema(
    [
        pa.field("experiment", pa.string(), nullable=False),
        pa.field("trial", pa.int32(), nullable=False),
        pa.field("epoch", pa.int32(), nullable=False),  # from 0
        # The minimised loss, averaged over the epoch.
        pa.field("train_loss", pa.float64(), nullable=False),
        pa.field("train_accuracy", pa.float64(), nullable=False),
        pa.field("validation_loss", pa.float64(), nullable=False),  # log loss, nats
        pa.field("validation_accuracy", pa.float64(), nullable=False),
        pa.field("learning_rate", pa.float64(), nullable=False),
    ]
)

# `DIR/search/*.parquet`: one row per trial and configuration of a search.
SEARCH_SCHEMA = pa.schema(
    [
        pa.field("experiment", pa.string(), nullable=False),
        pa.field("trial", pa.int32(), nullable=False),
        pa.field("configuration", pa.int32(), nullable=False),  # from 0, the same in all trials
        pa.field("classifier", pa.string(), nullable=False),
        pa.field("feature_set", pa.string(), nullable=False),
        pa.field("parameters", pa.string(), nullable=False),  # JSON
        # Over the inner folds of the trial's training set, without test images.
        pa.field("inner_accuracy", pa.float64(), nullable=False),
        pa.field("inner_macro_recall", pa.float64(), nullable=False),
        # Whether it predicts in this trial; several form an ensemble.
        pa.field("chosen", pa.bool_(), nullable=False),
    ]
)


def complete_columns(table: pa.Table, schema: pa.Schema) -> pa.Table:
    """Cast a table to `schema`; columns that it does not have become null, others are dropped."""
    columns = [
        table[field.name].cast(field.type)
        if field.name in table.column_names
        else pa.nulls(table.num_rows, field.type)
        for field in schema
    ]
    return pa.table(columns, schema=schema)
