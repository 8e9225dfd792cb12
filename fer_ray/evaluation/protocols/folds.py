"""The splits of a protocol, read from and written to CSV files."""

import csv
import hashlib
import io
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from fer_ray.errors import UserError, error_text
from fer_ray.evaluation.experiments.samples import Samples
from fer_ray.evaluation.protocols.splits import Split, make_splits, require_usable
from fer_ray.settings.training import TrialSettings
from fer_ray.storage.files import write_bytes
from fer_ray.storage.paths import to_path

COLUMNS = ("image_id", "trial", "part")
MAX_DIGITS = 9  # of a trial's number
PARTS = ("train", "test")
MAX_NAMED = 3  # images that a message names


@dataclass(frozen=True)
class Folds:
    """The splits of a protocol.

    Attributes:
        protocol: Name of the protocol. Splits from a file have a digest of their content in it:
            `given-folds-…` test no image twice, `given-trials-…` do.
        splits: One split per trial.
        notes: Notes for readers of the trials.
        leakage: What test and training images share (`leakage.audit`); empty before the audit.
    """

    protocol: str
    splits: list[Split]
    notes: list[str] = field(default_factory=list)
    leakage: dict[str, Any] = field(default_factory=dict)


def folds_for(settings: TrialSettings, samples: Samples, known_ids: set[str]) -> Folds:
    """Create the splits of a protocol, or read them from the file in `settings.folds`.

    Args:
        settings: Protocol or file, shares, number of trials and seed.
        samples: The samples to split.
        known_ids: Every image of the run folder, including those without features.
    """
    if settings.folds is not None:
        return read_folds(to_path(settings.folds), samples, known_ids)
    splits = make_splits(settings, samples.labels, samples.subjects, samples.image_ids)
    return Folds(settings.protocol, splits)


def write_folds(folds: Folds, samples: Samples, file: Path) -> None:
    """Write splits as CSV: `image_id`, `trial` (from 0) and `part`, in the order of training.

    Raises:
        UserError: The file cannot be written.
    """
    rows = [
        (samples.image_ids[index], trial, part)
        for trial, split in enumerate(folds.splits)
        for part, indices in zip(PARTS, (split.train, split.test), strict=True)
        for index in indices
    ]
    try:
        with io.StringIO() as text:
            csv.writer(text, lineterminator="\n").writerows([COLUMNS, *rows])
            write_bytes(text.getvalue().encode(), file)
    except OSError as problem:
        raise UserError(
            f"Cannot write {file}: {problem.strerror}. Pass another --write-folds."
        ) from None


def read_folds(file: Path, samples: Samples, known_ids: set[str]) -> Folds:
    """Read splits in the format of `write_folds`; the column `trial` may be called `fold`.

    In a file without parts (`image_id`, `fold`), each image is tested in its fold and used for
    training in all others.

    Images of the run folder without features, without a label, or of an excluded class are skipped,
    since no protocol can use them. A note reports their number.

    Raises:
        UserError: The file cannot be used. The message gives the line where possible.
    """
    given = _read_parts(file)
    listed = {name for parts in given.values() for name in parts}
    if unknown := sorted(listed - known_ids):
        raise UserError(
            f"{file} lists images that are not in the run folder: {_abbreviate(unknown)}. Remove "
            "their rows."
        )
    position = {name: index for index, name in enumerate(samples.image_ids)}
    splits = [_split(given[trial], position) for trial in sorted(given)]
    _require_parts(file, given, splits)
    require_usable(splits, samples.labels)
    tested = np.concatenate([split.test for split in splits])
    kind = "folds" if len(set(tested.tolist())) == len(tested) else "trials"
    skipped = listed - position.keys()
    note = f"{file.name}: {len(skipped)} of its images have no features or class and are skipped."
    digest = hashlib.sha256(repr(sorted(given.items())).encode()).hexdigest()[:8]
    return Folds(f"given-{kind}-{digest}", splits, [note] if skipped else [])


def _split(parts: dict[str, str], position: dict[str, int]) -> Split:
    train, test = (
        [position[name] for name, part in parts.items() if part == wanted and name in position]
        for wanted in PARTS
    )
    return Split(np.array(train, dtype=np.int64), np.array(test, dtype=np.int64))


def _read_parts(file: Path) -> dict[int, dict[str, str]]:
    """The part of each image in each trial, in the order of the file."""
    given: dict[int, dict[str, str]] = {}
    default: dict[str, str] = {}  # the part of an image in all folds but its own
    try:
        with file.open(encoding="utf-8-sig", newline="") as stream:
            for line, row in enumerate(csv.DictReader(stream), start=2):
                name, trial, part = _parse_row(row, f"{file}, line {line}")
                parts = given.setdefault(trial, {})
                if name in parts:
                    conflict = parts[name] != part
                    problem = "in both parts of" if conflict else "listed twice in"
                    raise UserError(
                        f"{file}, line {line}: {name} is {problem} trial {trial}. Remove one row."
                    )
                parts[name] = part or PARTS[1]
                if part is None:
                    default[name] = PARTS[0]
    except (OSError, UnicodeDecodeError, csv.Error) as problem:
        raise UserError(
            f"Cannot read the folds file {file}: {error_text(problem)}. Correct --folds."
        ) from None
    if not given:
        raise UserError(f"{file} contains no splits. Create a file with --write-folds.")
    return {trial: default | parts for trial, parts in given.items()}


def _parse_row(row: dict[str, str | None], place: str) -> tuple[str, int, str | None]:
    name, trial, part = row.get("image_id"), row.get("trial", row.get("fold")), row.get("part")
    tested_once = "fold" in row and "part" not in row
    if name is None or trial is None or (part is None and not tested_once):
        raise UserError(
            f"{place}: expected the columns {', '.join(COLUMNS)} (or fold instead of trial), or "
            "image_id, fold."
        )
    if part is not None and part.strip() not in PARTS:
        raise UserError(f"{place}: part is {part!r}; use train or test.")
    if not trial.strip().isdecimal() or len(trial.strip()) > MAX_DIGITS:
        raise UserError(f"{place}: trial is {trial[:20]!r}; use an integer from 0.")
    return name.strip(), int(trial), part and part.strip()


def _require_parts(file: Path, given: dict[int, dict[str, str]], splits: list[Split]) -> None:
    for trial, split in zip(sorted(given), splits, strict=True):
        for part, indices in zip(PARTS, (split.train, split.test), strict=True):
            if not len(indices):
                raise UserError(
                    f"{file}: trial {trial} has no image with features in its {part} part. Add "
                    "images, or remove the trial."
                )


def _abbreviate(names: list[str]) -> str:
    more = len(names) - MAX_NAMED
    return ", ".join(names[:MAX_NAMED]) + (f" and {more} more" if more > 0 else "")
