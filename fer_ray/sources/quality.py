"""Data quality: irregularities of a source, counted by kind with examples."""

from collections import Counter, defaultdict
from collections.abc import Iterable
from pathlib import PurePosixPath
from typing import Any

from fer_ray.settings.datasets import DATASETS
from fer_ray.settings.label_codes import DEFAULT_CODES, LabelCodes, describe_codes, describe_range

MAX_EXAMPLES = 5
MAX_EXTENSIONS = 8  # extensions that the meaning of a record lists
NO_EXTENSION = "no extension"

IRREGULARITIES = {
    "junk_file": "system files, previews and deleted files (.DS_Store, Thumbs.db, __MACOSX, "
    "@eaDir, .thumbnails, #recycle, …), or folders of them: ignored",
    "hidden_file": "hidden files and folders, whose names start with a dot: ignored; pass "
    "--hidden-files to include them",
    "not_an_image": "files without an image extension{extensions}: ignored",
    "undecodable_name": "files and folders whose names are not valid UTF-8: skipped; rename them "
    "to include them",
    "unaddressable": "bucket folders with an empty name, . or .. (as in a//b.jpg), whose objects "
    "cannot be requested: skipped",
    "linked_folder": "links to folders that are listed under another path: not followed",
    "unreadable_label": "label files that cannot be read: treated as unlabelled; restore them",
    "unparsed_line": "lines of label files that cannot be parsed: skipped; correct them",
    "similar_names": "images whose names have the form of a published data set's: unlabelled, "
    "since too many other names differ",
    "other_name": "images whose names do not have the form of the data set's: unlabelled",
    "unlisted_image": "images that the data set's label files do not list: unlabelled",
    "numbered_folder": "images in folders named by numbers: unlabelled; if the numbers are labels, "
    "pass --dataset rafdb for the codes of RAF-DB (1 to 7), or --label-codes for others",
    "no_emotion_folder": "images outside all folders named after emotions: unlabelled",
    "near_emotion_folder": "images in folders whose names resemble an emotion: unlabelled; rename "
    "the folders to use them",
    "nested_emotions": "images in folders named after several emotions: the innermost is used",
    "single_class": "images in folders named after a single emotion, next to other folders: "
    "unlabelled; pass --layout folders if the name is a label",
    "other_labels_file": "labels.csv without a path or label column: ignored, since folders have "
    "labels; pass --layout csv to require it",
    "unused_labels_file": "label files that are not named labels.csv: ignored; pass the file "
    "itself as --data to use its labels",
    "assumed_codes": "numeric labels: read with the codes of CK+ ({codes}); pass --label-codes if "
    "they are those of another data set",
    "no_label": "rows without a label: treated as unlabelled",
    "misplaced_image": "images outside the folder of a sequence, SUBJECT/SESSION: skipped",
    "folder_in_sequence": "folders inside the folder of a sequence: skipped",
    "misnamed_image": "images without a frame number in their names: skipped",
    "name_disagrees": "images whose name and folder give different subjects or sessions: the "
    "folder is used",
    "duplicate_frame": "images that repeat a frame number of their sequence: only the first is "
    "used",
    "frame_gap": "sequences with gaps in their frame numbers",
    "session_gap": "subjects with gaps in their session numbers",
    "no_images": "sequence folders without images, or labels without a sequence",
    "other_class": "labels for other classes, such as none, uncertain or no face: treated as "
    "unlabelled",
    "no_majority": "images without more than half of the votes for one emotion: treated as "
    "unlabelled",
    "single_frame": "sequences of a single frame: a peak without a neutral frame",
    "no_label_folder": "sequences without a label folder: treated as unlabelled",
    "empty_label_folder": "sequences with an empty label folder: treated as unlabelled",
    "empty_label_file": "label files without a value: treated as unlabelled",
    "several_label_files": "sequences with several label files: the last one by name is used",
    "label_conflict": "identical files with different labels: correct the labels, or remove the "
    "copies",
    "invalid_label": "labels that are neither a code of {valid_codes} nor a known emotion: treated "
    "as unlabelled",
    "label_not_last_frame": "label files named after a frame other than the last: the last frame "
    "is still the peak",
    "similar_subjects": "subjects whose names differ only in case, spaces or Unicode form: they "
    "count as different people; use one spelling for each person",
    "path_outside": "paths that lead out of the source folder: skipped",
    "duplicate_path": "rows that repeat a path: only the first is used",
    "conflicting_rows": "rows that repeat a path with another label: only the first is used; "
    "correct the labels",
    "same_column": "columns whose names are the same, or differ only in case, spaces or "
    "punctuation: ignored; rename them",
    "missing_path": "rows without a path: skipped",
    "respelled_path": "paths that differ from the file's in separators, Unicode form, case or "
    "extension: matched to the only such file",
    "missing_file": "rows of files that do not exist: unreadable; correct the paths, which are "
    "relative to the CSV file",
    "unknown_path": "labels of images that the source does not contain: ignored",
}


class Quality:
    """Counts of each kind of irregularity, with the first few examples.

    Args:
        used_files: Files that `note_other_file` does not count, as for `use_file`.

    Attributes:
        used_files: These, and those since passed to `use_file`.
    """

    def __init__(self, used_files: Iterable[str] = ()) -> None:
        self.used_files = set(used_files)
        self._label_codes: set[LabelCodes] = set()
        self._counts: Counter[str] = Counter()
        self._examples: dict[str, list[str]] = defaultdict(list)
        self._extensions: Counter[str] = Counter()

    def note(self, kind: str, example: str, count: int = 1) -> None:
        """Count one or more cases of `kind`, a key of `IRREGULARITIES`."""
        self._counts[kind] += count
        examples = self._examples[kind]
        if len(examples) < MAX_EXAMPLES and example not in examples:
            examples.append(example)

    def note_invalid_label(self, example: str, codes: LabelCodes | None) -> None:
        """Count a label that is not valid with these codes; None: those of CK+."""
        self._label_codes.add(codes or DEFAULT_CODES)
        self.note("invalid_label", example)

    def use_file(self, path: str) -> None:
        """Record that labels or images are read from a file, or from all in `folder/`."""
        self.used_files.add(path)

    def note_other_file(self, path: str) -> None:
        """Count a file that is not an image, by its extension in lower case, unless it is used."""
        if not self.used_files.isdisjoint((path, f"{path.rpartition('/')[0]}/")):
            return
        self.note("not_an_image", path)
        self._extensions[PurePosixPath(path).suffix.lower() or NO_EXTENSION] += 1

    def add(self, other: "Quality") -> None:
        """Add the counts and examples of another part of the source."""
        self._counts += other._counts
        self._extensions += other._extensions
        self._label_codes |= other._label_codes
        self.used_files |= other.used_files
        for kind, found in other._examples.items():
            examples = dict.fromkeys([*self._examples[kind], *found])
            self._examples[kind] = [*examples][:MAX_EXAMPLES]

    def take(self, other: "Quality", kind: str) -> None:
        """Add the count and the examples of one kind of another part of the source."""
        for example in other._examples[kind]:
            self.note(kind, example, 0)
        self._counts[kind] += other._counts[kind]

    def records(self) -> list[dict[str, Any]]:
        """One record per kind that occurred: kind, meaning, count, examples."""
        details = {
            "extensions": _format_extensions(self._extensions),
            "codes": describe_codes(DEFAULT_CODES),
            "valid_codes": _format_codes(self._label_codes),
        }
        return [
            {
                "kind": kind,
                "meaning": meaning.format_map(details),
                "count": self._counts[kind],
                "examples": self._examples[kind],
            }
            for kind, meaning in IRREGULARITIES.items()
            if self._counts.get(kind)
        ]


def describe_issue(record: dict[str, Any]) -> str:
    """A record of `Quality.records` as one line, with its first examples."""
    examples = ", ".join(record["examples"][:3])
    more = " …" if record["count"] > 3 else ""
    return f"{record['count']} × {record['meaning']} ({examples}{more})"


def label_lines(by_emotion: dict[str, int], class_folders: list[dict[str, Any]]) -> list[str]:
    """The numbers of labels by class, and what folders were read as, as lines of a summary."""
    lines = [f"images by label: {format_counts(by_emotion)}"] if by_emotion else []
    others = [entry for entry in class_folders if entry["folder"].lower() != entry["emotion"]]
    if others:
        named = ", ".join(f"{entry['folder']} as {entry['emotion']}" for entry in others)
        lines.append(f"names read as labels: {named}")
    return lines


def _format_codes(names: set[LabelCodes]) -> str:
    """The ranges of codes, such as `RAF-DB (1 to 7)`."""
    return " or ".join(f"{DATASETS[name].title} ({describe_range(name)})" for name in sorted(names))


def _format_extensions(counts: Counter[str]) -> str:
    """The most frequent extensions with their counts, in brackets."""
    common = dict(counts.most_common(MAX_EXTENSIONS))
    if rest := counts.total() - sum(common.values()):
        common["others"] = rest
    return f" [{format_counts(common)}]" if common else ""


def format_counts(counts: dict[str, int]) -> str:
    """Names with their counts, such as `640×490 (185), 640×480 (42)`."""
    return ", ".join(f"{name} ({count})" for name, count in counts.items())
