"""Columns of a store of sweeps."""

import pyarrow as pa

from fer_ray.contracts import OUTCOME_FIELDS, feature_column

# `STORE/images` (Delta Lake): one row per image of the source.
IMAGES_SCHEMA = pa.schema(
    [
        pa.field("path", pa.string(), nullable=False),  # relative to the source; unique
        pa.field("size", pa.int64(), nullable=False),  # bytes, as listed
        pa.field("mtime_ns", pa.int64(), nullable=False),  # nanoseconds since 1970, as listed
        pa.field("sha256", pa.string()),  # of the content: leads to `results`; null where unread
        pa.field("recipe", pa.string(), nullable=False),  # fingerprint: leads to `results`
        pa.field("status", pa.string(), nullable=False),  # Status; of several faces, the best one's
        pa.field("stage", pa.string(), nullable=False),  # Stage
        pa.field("error", pa.string()),
        pa.field("faces", pa.int16(), nullable=False),  # with landmarks and features
        pa.field("subject", pa.string()),
        pa.field("emotion", pa.string()),  # one of EMOTIONS, null where unlabelled
        pa.field("label", pa.int8()),  # its code
        pa.field("sweep", pa.string(), nullable=False),  # that wrote this row
        pa.field("listed_ns", pa.int64(), nullable=False),  # when that sweep listed the source
    ]
)

# `STORE/readings` (Delta Lake): what sweeps have read and not published yet.
READINGS_SCHEMA = pa.schema(
    [*(IMAGES_SCHEMA.field(name) for name in ("path", "size", "mtime_ns", "sha256"))]
)

# Of `STORE/results`: one row per face of each content under a recipe, or one that says why not.
RESULT_FIELDS = (
    pa.field("sha256", pa.string(), nullable=False),
    pa.field("recipe", pa.string(), nullable=False),
    pa.field("face_index", pa.int16(), nullable=False),  # from 0, the largest face first
    pa.field("face_id", pa.string()),  # of content and box: the same in every sweep; null: no face
    *(field for field in OUTCOME_FIELDS if field.name != "sha256"),
    pa.field("sweep", pa.string(), nullable=False),
)


def results_schema(feature_widths: dict[str, int]) -> pa.Schema:
    """Schema of `STORE/results`. Its vectors are lists: Delta Lake knows none of fixed size.

    Args:
        feature_widths: Numbers per face of each feature set, by its name.
    """
    features = [pa.field(feature_column(name), pa.list_(pa.float32())) for name in feature_widths]
    return pa.schema([*map(_free_length, RESULT_FIELDS), *features])


def _free_length(field: pa.Field) -> pa.Field:
    if not pa.types.is_fixed_size_list(field.type):
        return field
    return field.with_type(pa.list_(field.type.value_type))
