"""The columns of the tables in stores.

Imports pyarrow only.
"""

import pyarrow as pa

from fer_ray.schemas import FACE_FIELDS, OUTCOME_FIELDS, feature_column

# `STORE/images` (Delta Lake): one row per image of the source.
IMAGES_SCHEMA = pa.schema(
    [
        pa.field("path", pa.string(), nullable=False),  # relative to the source; unique
        pa.field("size", pa.int64(), nullable=False),  # bytes, as listed
        pa.field("mtime_ns", pa.int64(), nullable=False),  # nanoseconds since 1970, as listed
        pa.field("sha256", pa.string()),  # of the content, a key of `results`; null if unread
        pa.field("recipe", pa.string(), nullable=False),  # fingerprint, a key of `results`
        pa.field("status", pa.string(), nullable=False),  # Status; the best of several faces
        pa.field("stage", pa.string(), nullable=False),  # Stage
        pa.field("error", pa.string()),
        pa.field("faces", pa.int16(), nullable=False),  # those with landmarks and features
        pa.field("subject", pa.string()),
        pa.field("emotion", pa.string()),  # one of EMOTIONS, null if unlabelled
        pa.field("label", pa.int8()),  # its code, null if unlabelled
        pa.field("sweep", pa.string(), nullable=False),  # the sweep that wrote the row
        pa.field("listed_ns", pa.int64(), nullable=False),  # when the sweep listed the source
    ]
)


# `STORE/readings` (Delta Lake): images that were read but are not published yet.
READINGS_SCHEMA = pa.schema(
    [*(IMAGES_SCHEMA.field(name) for name in ("path", "size", "mtime_ns", "sha256"))]
)


# `STORE/results`: one row per face of each content and recipe, or one row without a face.
RESULT_FIELDS = (
    pa.field("sha256", pa.string(), nullable=False),
    pa.field("recipe", pa.string(), nullable=False),
    *FACE_FIELDS,
    *(field for field in OUTCOME_FIELDS if field.name != "sha256"),
    pa.field("sweep", pa.string(), nullable=False),
)


def results_schema(feature_widths: dict[str, int]) -> pa.Schema:
    """Schema of `STORE/results`. Vectors are plain lists: Delta Lake has no fixed-size lists.

    Args:
        feature_widths: Values per face of each feature set, by name.
    """
    features = [pa.field(feature_column(name), pa.list_(pa.float32())) for name in feature_widths]
    return pa.schema([*map(_with_plain_list, RESULT_FIELDS), *features])


def _with_plain_list(field: pa.Field) -> pa.Field:
    if not pa.types.is_fixed_size_list(field.type):
        return field
    return field.with_type(pa.list_(field.type.value_type))
