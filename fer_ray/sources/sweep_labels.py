"""Labels of images, where a source has any: a labels.csv at its top, a CK+ tree, or folders."""

import os
import re
import tempfile
from collections.abc import Callable
from itertools import islice
from pathlib import Path

from fer_ray.errors import SourceLostError, UserError
from fer_ray.settings.extraction import Selection
from fer_ray.sources import ckplus
from fer_ray.sources.listing import select
from fer_ray.sources.locations import Source
from fer_ray.sources.photographs import LABELS_FILE, folder_label, rows_of_csv
from fer_ray.sources.quality import Quality
from fer_ray.storage.uris import told
from fer_ray.vocabulary import EMOTIONS

# Subject, emotion and label of a path; null where unknown.
Label = tuple[str | None, str | None, int | None]
NO_LABEL: Label = (None, None, None)

LOOKED_AT = 1_000  # entries of a folder, to tell a CK+ tree from a dump of millions of files
_SUBJECT = re.compile(r"S\d+", re.IGNORECASE)


class Labels:
    """Tells the label of each listed path; `unused` are the paths that were not asked for."""

    def __init__(self, known: dict[str, Label]) -> None:
        self._known = known
        self.unused = set(known)

    def __call__(self, path: str) -> Label:
        """The label of one path."""
        self.unused.discard(path)
        return self._known.get(path, NO_LABEL)


def labels_of(source: Source, quality: Quality) -> Callable[[str], Label]:
    """What tells the label of a path; what is odd about labels is counted.

    Raises:
        SourceLostError: There is a labels.csv that cannot be read.
        UserError: It is no table of labels.
    """
    if source.empty:  # listing it tells
        return _of_folder
    try:
        content = source.read(LABELS_FILE)
    except FileNotFoundError:
        if source.local and _looks_like_ckplus(source.root):
            return Labels(_of_ckplus(Path(source.root), quality))
        return _of_folder
    except OSError as problem:
        raise SourceLostError(
            f"{source.uri}/{LABELS_FILE} cannot be read: {told(problem)}. Nothing was changed."
        ) from None
    return Labels(_of_csv(content, f"{source.uri}/{LABELS_FILE}", quality))


def note_unused(labels: Callable[[str], Label], quality: Quality) -> None:
    """Count the labels of images that the source does not have; once all is listed."""
    for path in sorted(labels.unused) if isinstance(labels, Labels) else ():
        quality.note("unknown_path", path)


def _of_csv(content: bytes, name: str, quality: Quality) -> dict[str, Label]:
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, LABELS_FILE)
        file.write_bytes(content)
        try:
            rows = rows_of_csv(file, quality)
        except UserError as problem:
            raise UserError(str(problem).replace(str(file), name)) from None
    return {row["path"]: (row["subject"], row["emotion"], row["label"]) for row in rows}


def _of_folder(path: str) -> Label:
    code = folder_label(path)
    return None, None if code is None else EMOTIONS[code], code


def _of_ckplus(root: Path, quality: Quality) -> dict[str, Label]:
    """As extraction labels all frames: the last of a sequence, and the first as neutral."""
    roots = ckplus.find_roots(root)
    if roots is None:
        return {}
    sequences = ckplus.read_sequences(root, *roots, quality)
    rows = select(sequences, Selection(frames="all"))
    return {row["path"]: (row["subject"], row["emotion"], row["label"]) for row in rows}


def _looks_like_ckplus(root: str) -> bool:
    """Whether a folder of images of CK+ is near the top; looks at few names."""
    level = [root]
    for _ in range(3):
        if any(_holds_sequences(folder) for folder in level):
            return True
        level = [inner for folder in level for inner in _folders(folder)][:LOOKED_AT]
    return False


def _holds_sequences(folder: str) -> bool:
    """Whether it is named as CK+'s, or holds SUBJECT/SESSION."""
    if Path(folder).name.lower() in ckplus.IMAGE_ROOTS:
        return True
    subjects = [inner for inner in _folders(folder) if _SUBJECT.fullmatch(Path(inner).name)]
    return any(Path(session).name.isdigit() for one in subjects[:3] for session in _folders(one))


def _folders(folder: str) -> list[str]:
    try:
        with os.scandir(folder) as found:
            return [
                one.path for one in islice(found, LOOKED_AT) if one.is_dir(follow_symlinks=False)
            ]
    except OSError:  # listing it tells
        return []
