"""Labels of images, where a source has any: a labels.csv at its top, or folders of that name."""

import tempfile
from collections.abc import Callable
from pathlib import Path

from fer_ray.contracts import EMOTIONS
from fer_ray.data.photos import LABELS_FILE, folder_label, rows_of_csv
from fer_ray.data.quality import Quality
from fer_ray.sweep.source import Source

# Subject, emotion and label of a path; null where unknown.
Label = tuple[str | None, str | None, int | None]


def labels_of(source: Source) -> Callable[[str], Label]:
    """What tells the label of a path.

    Raises:
        UserError: There is a labels.csv that cannot be read.
    """
    try:
        content = source.read(LABELS_FILE)
    except OSError:
        return _of_folder
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, LABELS_FILE)
        file.write_bytes(content)
        rows = rows_of_csv(file, Quality())
    known: dict[str, Label] = {
        row["path"]: (row["subject"], row["emotion"], row["label"]) for row in rows
    }
    return lambda path: known.get(path, (None, None, None))


def _of_folder(path: str) -> Label:
    code = folder_label(path)
    return None, None if code is None else EMOTIONS[code], code
