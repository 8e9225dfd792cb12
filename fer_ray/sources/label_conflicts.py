"""Find pictures that occur with several labels."""

from collections import defaultdict
from collections.abc import Callable, Iterable

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from fer_ray.sources.quality import Quality
from fer_ray.vocabulary import EMOTIONS

COLUMNS = ["path", "emotion", "sha256"]
MAX_FILES = 4  # of a picture, in an example
KEY_DIGITS = 16  # hexadecimal digits of a hash that are compared first
MULTIPLIER = np.uint64(0x9E3779B97F4A7C15)  # odd, so that it loses no digit


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
    suspects = keys[1:][differs]
    files: dict[str, list[tuple[str, str]]] = defaultdict(list)
    for batch in map(_labelled, read()):
        rows = batch.filter(pa.array(np.isin(_keys(batch["sha256"]), suspects)))
        for path, emotion, sha256 in zip(
            *(rows[name].to_pylist() for name in COLUMNS), strict=True
        ):
            files[sha256].append((path, emotion))
    for found in sorted(sorted(entries) for entries in files.values()):
        if len({emotion for _, emotion in found}) > 1:
            named = [f"{path} ({emotion})" for path, emotion in found[:MAX_FILES]]
            quality.note("label_conflict", " = ".join(named))


def _labelled(batch: pa.RecordBatch) -> pa.RecordBatch:
    return batch.filter(pc.and_(batch["emotion"].is_valid(), batch["sha256"].is_valid()))


def _keys_and_codes(
    batches: Iterable[pa.RecordBatch],
) -> tuple[NDArray[np.uint64], NDArray[np.int16]]:
    """Keys of the hashes (n,) and numbers of the emotions (n,) of all labelled images."""
    emotions = pa.array(EMOTIONS)
    keys, codes = [np.zeros(0, np.uint64)], [np.zeros(0, np.int16)]
    for batch in map(_labelled, batches):
        keys.append(_keys(batch["sha256"]))
        found = pc.index_in(batch["emotion"], emotions)
        codes.append(found.to_numpy(zero_copy_only=False).astype(np.int16))
    return np.concatenate(keys), np.concatenate(codes)


def _keys(hashes: pa.StringArray) -> NDArray[np.uint64]:
    """A number for the first digits of each hash; of different hashes, it is rarely the same."""
    digits = (
        pc.utf8_slice_codeunits(hashes, 0, KEY_DIGITS)
        .cast(pa.binary())
        .to_numpy(zero_copy_only=False)
    )
    halves = digits.astype(f"S{KEY_DIGITS}").view(np.uint64).reshape(-1, 2)
    keys: NDArray[np.uint64] = halves[:, 0] * MULTIPLIER + halves[:, 1]
    return keys
