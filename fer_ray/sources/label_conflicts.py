"""Find pictures that occur with several labels."""

from collections import defaultdict
from collections.abc import Callable, Iterable

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from fer_ray.sources.quality import Quality

COLUMNS = ["path", "emotion", "sha256"]
MAX_FILES = 4  # of a picture, in an example
KEY_DIGITS = 15  # hexadecimal digits of a hash that fit into an int64


def note_conflicts(read: Callable[[], Iterable[pa.RecordBatch]], quality: Quality) -> None:
    """Count contents that occur under several emotions.

    A first pass compares parts of hashes, so that memory suffices for millions of images; a second
    one reads the paths of the few contents in question.

    Args:
        read: Streams the images with `COLUMNS`; called twice. Null emotions and hashes are ignored.
        quality: Counts each content once.
    """
    keys, codes = _keys_and_codes(read())
    order = np.lexsort((codes, keys))
    keys, codes = keys[order], codes[order]
    differs = (keys[1:] == keys[:-1]) & (codes[1:] != codes[:-1])
    if not differs.any():
        return
    suspects = set(keys[1:][differs].tolist())
    files: dict[str, list[tuple[str, str]]] = defaultdict(list)
    for batch in map(_labelled, read()):
        for path, emotion, sha256 in zip(
            *(batch[name].to_pylist() for name in COLUMNS), strict=True
        ):
            if _key(sha256) in suspects:
                files[sha256].append((path, emotion))
    for found in sorted(sorted(entries) for entries in files.values()):
        if len({emotion for _, emotion in found}) > 1:
            named = [f"{path} ({emotion})" for path, emotion in found[:MAX_FILES]]
            quality.note("label_conflict", " = ".join(named))


def _labelled(batch: pa.RecordBatch) -> pa.RecordBatch:
    return batch.filter(pc.and_(batch["emotion"].is_valid(), batch["sha256"].is_valid()))


def _keys_and_codes(
    batches: Iterable[pa.RecordBatch],
) -> (
    "tuple[np.ndarray[tuple[int], np.dtype[np.int64]], np.ndarray[tuple[int], np.dtype[np.int16]]]"
):
    """Keys of the hashes (n,) and numbers of the emotions (n,) of all labelled images."""
    numbers: dict[str, int] = {}
    keys, codes = [np.zeros(0, np.int64)], [np.zeros(0, np.int16)]
    for batch in map(_labelled, batches):
        keys.append(np.array([_key(text) for text in batch["sha256"].to_pylist()], np.int64))
        found = [numbers.setdefault(name, len(numbers)) for name in batch["emotion"].to_pylist()]
        codes.append(np.array(found, np.int16))
    return np.concatenate(keys), np.concatenate(codes)


def _key(sha256: str) -> int:
    return int(sha256[:KEY_DIGITS], 16)
