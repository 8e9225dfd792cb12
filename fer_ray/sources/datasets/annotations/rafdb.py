"""The label list of RAF-DB."""

from pathlib import Path, PurePosixPath

from fer_ray.settings.extraction import Selection
from fer_ray.sources.datasets.annotations.text_files import read_text
from fer_ray.sources.emotion_words import parse_code
from fer_ray.sources.image_files import image_paths
from fer_ray.sources.labels import Label, add_unlisted, make_label
from fer_ray.sources.quality import Quality

# The first spelling is that of the data set.
LISTS = ("list_patition_label.txt", "list_partition_label.txt")
ALIGNED = "_aligned"  # end of the names of aligned images, without their extension
FOLDERS = ("", "EmoLabel/", "basic/EmoLabel/")


def rafdb_list(root: Path) -> Path | None:
    """The label list of RAF-DB; None if there is none."""
    files = (root / f"{folder}{name}" for folder in FOLDERS for name in LISTS)
    return next((file for file in files if file.is_file()), None)


def read_rafdb(
    root: Path, file: Path, selection: Selection, quality: Quality, left_out: Quality
) -> dict[str, Label]:
    """Read the labels of RAF-DB, lines such as `train_00001.jpg 5`.

    The image is the one of that name, or with `_aligned` before its extension; aligned images are
    preferred where both exist.

    Args:
        root: The source.
        file: The list of labels.
        selection: Codes of labels, and whether to include hidden files.
        quality: Counts irregular labels.
        left_out: Counts files that are not images.

    Raises:
        UserError: The list cannot be read.
    """
    quality.use_file(file.relative_to(root).as_posix())
    by_stem: dict[str, str] = {}
    for path in image_paths(root, left_out, selection.hidden_files):
        by_stem.setdefault(PurePosixPath(path).stem, path)
    labels: dict[str, Label] = {}
    for number, line in enumerate(read_text(file).splitlines(), start=1):
        if not line.strip():
            continue
        name, *rest = line.strip().rsplit(maxsplit=1)
        stem = PurePosixPath(name).stem
        image = by_stem.get(f"{stem}{ALIGNED}") or by_stem.get(stem)
        if not rest:
            quality.note("unparsed_line", f"{file.name}, line {number}: {name[:40]!r}")
        elif image is None:
            quality.note("unknown_path", name)
        else:
            codes = selection.codes or "rafdb"
            code = parse_code(rest[0], codes)
            if code is None:
                where = f"{file.name}, line {number}"
                quality.note_invalid_label(f"{where}: {rest[0][:40]!r}", codes)
            labels[image] = make_label(code)
    used = {PurePosixPath(path).stem.removesuffix(ALIGNED) for path in labels}
    others = (path for stem, path in by_stem.items() if stem.removesuffix(ALIGNED) not in used)
    add_unlisted(others, labels, quality)
    return labels
