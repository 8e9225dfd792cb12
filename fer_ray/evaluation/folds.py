"""Splits as files: a CSV file that says which images train and which test in each trial."""

import csv
import hashlib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from fer_ray.errors import UserError
from fer_ray.evaluation.samples import Samples
from fer_ray.evaluation.splits import Split, make_splits, require_usable
from fer_ray.settings.training import TrialSettings

COLUMNS = ("image_id", "trial", "part")
MOST_DIGITS = 9  # of a trial's number
PARTS = ("train", "test")
NAMED_AT_MOST = 3  # images that a message names


@dataclass(frozen=True)
class Folds:
    """The splits of a protocol.

    Attributes:
        protocol: Its name. Given folds carry a digest of their content; `given-folds` test no
            image twice, `given-trials` do.
        splits: One a trial.
        notes: What a reader of the trials ought to know.
        leakage: What test and training images share (`leakage.audit`); empty until it is audited.
    """

    protocol: str
    splits: list[Split]
    notes: list[str] = field(default_factory=list)
    leakage: dict[str, Any] = field(default_factory=dict)


def folds_for(settings: TrialSettings, samples: Samples, known_ids: set[str]) -> Folds:
    """The splits that `settings` ask for: of their protocol, or of the file they name.

    Args:
        settings: Protocol or file, shares, number of trials and seed.
        samples: What is split.
        known_ids: Every image of the run folder, also those without features.
    """
    if settings.folds is not None:
        return read_folds(settings.folds, samples, known_ids)
    return Folds(settings.protocol, make_splits(settings, samples.labels, samples.subjects))


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
        with file.open("w", encoding="utf-8", newline="") as opened:
            csv.writer(opened, lineterminator="\n").writerows([COLUMNS, *rows])
    except OSError as problem:
        raise UserError(f"Cannot write {file}: {problem.strerror}.") from None


def read_folds(file: Path, samples: Samples, known_ids: set[str]) -> Folds:
    """Read splits as `write_folds` writes them; `fold` may stand for `trial`.

    In a file without parts (`image_id`, `fold`) each image is tested in its fold and trains in all
    others.

    Images of the run folder that have no features, no label, or no class of this variant are passed
    over, since no protocol could use them; a note tells of them.

    Raises:
        UserError: The file cannot be used; the message says where.
    """
    given = _read(file)
    unknown = sorted({name for parts in given.values() for name in parts} - known_ids)
    if unknown:
        raise UserError(f"{file} names images that the run folder lacks: {_few(unknown)}.")
    position = {name: index for index, name in enumerate(samples.image_ids)}
    splits = []
    for trial in sorted(given):
        train, test = (
            [position[name] for name, of in given[trial].items() if of == part and name in position]
            for part in PARTS
        )
        splits.append(Split(np.array(train, dtype=np.int64), np.array(test, dtype=np.int64)))
    _require_parts(file, given, splits)
    require_usable(splits, samples.labels)
    tested = np.concatenate([split.test for split in splits])
    kind = "folds" if len(set(tested.tolist())) == len(tested) else "trials"
    absent = {name for parts in given.values() for name in parts} - position.keys()
    note = f"{file.name}: {len(absent)} of its images have no features or class and are left out."
    digest = hashlib.sha256(repr(sorted(given.items())).encode()).hexdigest()[:8]
    return Folds(f"given-{kind}-{digest}", splits, [note] if absent else [])


def _read(file: Path) -> dict[int, dict[str, str]]:
    """Part of each image, by trial, in the file's order."""
    given: dict[int, dict[str, str]] = {}
    whole: dict[str, str] = {}  # images that train in every fold but their own
    try:
        with file.open(encoding="utf-8-sig", newline="") as opened:
            for line, row in enumerate(csv.DictReader(opened), start=2):
                name, trial, part = _row(row, f"{file}, line {line}")
                images = given.setdefault(trial, {})
                if name in images:
                    both = images[name] != part
                    how = "is in training and in test" if both else "stands twice"
                    raise UserError(f"{file}, line {line}: {name} {how} in trial {trial}.")
                images[name] = part or PARTS[1]
                if part is None:
                    whole[name] = PARTS[0]
    except (OSError, UnicodeDecodeError, csv.Error) as problem:
        raise UserError(f"Folds file {file} cannot be read: {problem}") from None
    if not given:
        raise UserError(f"{file} holds no splits.")
    return {trial: whole | images for trial, images in given.items()}


def _row(row: dict[str, str | None], place: str) -> tuple[str, int, str | None]:
    name, trial, part = row.get("image_id"), row.get("trial", row.get("fold")), row.get("part")
    tested_once = "fold" in row and "part" not in row
    if name is None or trial is None or (part is None and not tested_once):
        raise UserError(
            f"{place}: expected the columns {', '.join(COLUMNS)} (or fold for trial), or image_id, "
            "fold."
        )
    if part is not None and part.strip() not in PARTS:
        raise UserError(f"{place}: part is {part!r}; take train or test.")
    if not trial.strip().isdecimal() or len(trial.strip()) > MOST_DIGITS:
        raise UserError(f"{place}: trial is {trial[:20]!r}; take a number from 0.")
    return name.strip(), int(trial), part and part.strip()


def _require_parts(file: Path, given: dict[int, dict[str, str]], splits: list[Split]) -> None:
    for trial, split in zip(sorted(given), splits, strict=True):
        for part, indices in zip(PARTS, (split.train, split.test), strict=True):
            if not len(indices):
                raise UserError(f"{file}: trial {trial} has no image with features for its {part}.")


def _few(names: list[str]) -> str:
    more = len(names) - NAMED_AT_MOST
    return ", ".join(names[:NAMED_AT_MOST]) + (f" and {more} more" if more > 0 else "")
