"""What was odd about a source tree: counted, with examples, never silently passed over."""

from collections import defaultdict
from typing import Any

MAX_EXAMPLES = 5

MEANINGS = {
    "junk_file": "files that systems leave behind (.DS_Store, ._*, Thumbs.db, __MACOSX …); ignored",
    "not_an_image": "other files that are no images by their name; ignored",
    "undecodable_name": "files and folders whose name is no UTF-8, so no table can name them; left "
    "out: rename them",
    "unaddressable": "folders of a bucket whose name is empty, . or .. (a//b.jpg): their keys "
    "cannot be asked for; left out",
    "linked_folder": "links to folders that are listed elsewhere; not followed again",
    "unreadable_label": "label files that cannot be read: taken as unlabelled",
    "no_emotion_folder": "images that lie in no folder named after an emotion; left out",
    "no_label": "rows without a label: unlabelled",
    "misnamed_image": "images whose name holds no frame number; left out",
    "name_disagrees": "images named after another subject or session than their folder; the "
    "folder counts",
    "duplicate_frame": "second images of one frame number in a sequence; the first is kept",
    "frame_gap": "sequences whose frame numbers skip",
    "session_gap": "subjects whose session numbers skip",
    "no_images": "sequence folders without images, or labels whose sequence has none",
    "single_frame": "sequences of a single frame: a peak without a neutral frame",
    "no_label_folder": "sequences without a label folder: unlabelled",
    "empty_label_folder": "sequences whose label folder is empty: unlabelled",
    "several_label_files": "sequences with several label files; the last by name counts",
    "invalid_label": "labels that are no code from 0 to 7 (or no known name): taken as unlabelled",
    "label_not_last_frame": "label files named after another frame than the last; the last frame "
    "is the peak all the same",
    "path_outside": "paths that lead out of the source folder; left out",
    "duplicate_path": "rows that name a file a second time; the first is kept",
    "missing_path": "rows without a path; left out",
    "unknown_path": "rows that name no image of the source",
}


class Quality:
    """Counts of each kind of oddity, with the first few examples."""

    def __init__(self) -> None:
        self._counts: dict[str, int] = defaultdict(int)
        self._examples: dict[str, list[str]] = defaultdict(list)

    def note(self, kind: str, example: str) -> None:
        """Count one case of `kind`, which `MEANINGS` explains."""
        self._counts[kind] += 1
        if len(self._examples[kind]) < MAX_EXAMPLES:
            self._examples[kind].append(example)

    def records(self) -> list[dict[str, Any]]:
        """One record a kind that was seen: kind, meaning, count, examples."""
        return [
            {
                "kind": kind,
                "meaning": meaning,
                "count": self._counts[kind],
                "examples": self._examples[kind],
            }
            for kind, meaning in MEANINGS.items()
            if self._counts.get(kind)
        ]


def counted(counts: dict[str, int]) -> str:
    """Names with their counts, as `640×490 (185), 640×480 (42)`."""
    return ", ".join(f"{name} ({count})" for name, count in counts.items())
