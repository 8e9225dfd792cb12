"""Data quality: irregularities of a source, counted by kind with examples."""

from collections import defaultdict
from typing import Any

MAX_EXAMPLES = 5

IRREGULARITIES = {
    "junk_file": "files created by operating systems (.DS_Store, ._*, Thumbs.db, __MACOSX, …): "
    "ignored",
    "not_an_image": "files without an image extension: ignored",
    "undecodable_name": "files and folders whose names are not valid UTF-8: skipped; rename them "
    "to include them",
    "unaddressable": "bucket folders with an empty name, . or .. (as in a//b.jpg), whose objects "
    "cannot be requested: skipped",
    "linked_folder": "links to folders that are listed under another path: not followed",
    "unreadable_label": "label files that cannot be read: treated as unlabelled",
    "no_emotion_folder": "images outside all folders named after emotions: skipped",
    "no_label": "rows without a label: treated as unlabelled",
    "misnamed_image": "images without a frame number in their names: skipped",
    "name_disagrees": "images named after another subject or session than their folder: the folder "
    "is used",
    "duplicate_frame": "images that repeat a frame number of their sequence: only the first is "
    "used",
    "frame_gap": "sequences with gaps in their frame numbers",
    "session_gap": "subjects with gaps in their session numbers",
    "no_images": "sequence folders without images, or labels without a sequence",
    "single_frame": "sequences of a single frame: a peak without a neutral frame",
    "no_label_folder": "sequences without a label folder: treated as unlabelled",
    "empty_label_folder": "sequences with an empty label folder: treated as unlabelled",
    "several_label_files": "sequences with several label files: the last one by name is used",
    "invalid_label": "labels that are neither a code from 0 to 7 nor a known emotion: treated as "
    "unlabelled",
    "label_not_last_frame": "label files named after a frame other than the last: the last frame "
    "is still the peak",
    "path_outside": "paths that lead out of the source folder: skipped",
    "duplicate_path": "rows that repeat a path: only the first is used",
    "missing_path": "rows without a path: skipped",
    "unknown_path": "labels of images that the source does not contain: ignored",
}


class Quality:
    """Counts of each kind of irregularity, with the first few examples."""

    def __init__(self) -> None:
        self._counts: dict[str, int] = defaultdict(int)
        self._examples: dict[str, list[str]] = defaultdict(list)

    def note(self, kind: str, example: str) -> None:
        """Count one case of `kind`, a key of `IRREGULARITIES`."""
        self._counts[kind] += 1
        if len(self._examples[kind]) < MAX_EXAMPLES:
            self._examples[kind].append(example)

    def add(self, other: "Quality") -> None:
        """Add the counts and examples of another part of the source."""
        for kind, count in other._counts.items():
            self._counts[kind] += count
            examples = [*self._examples[kind], *other._examples[kind]]
            self._examples[kind] = examples[:MAX_EXAMPLES]

    def records(self) -> list[dict[str, Any]]:
        """One record per kind that occurred: kind, meaning, count, examples."""
        return [
            {
                "kind": kind,
                "meaning": meaning,
                "count": self._counts[kind],
                "examples": self._examples[kind],
            }
            for kind, meaning in IRREGULARITIES.items()
            if self._counts.get(kind)
        ]


def format_counts(counts: dict[str, int]) -> str:
    """Names with their counts, such as `640×490 (185), 640×480 (42)`."""
    return ", ".join(f"{name} ({count})" for name, count in counts.items())
