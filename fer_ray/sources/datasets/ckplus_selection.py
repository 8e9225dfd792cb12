"""Which frames of CK+ sequences take part, and the rows that they become."""

import random
from pathlib import Path
from typing import Any

from fer_ray.errors import UserError
from fer_ray.settings.extraction import Selection
from fer_ray.sources.datasets.ckplus import Frame, Sequence, read_sequences
from fer_ray.sources.datasets.ckplus_roots import find_roots
from fer_ray.sources.datasets.empty_source import describe_empty_source
from fer_ray.sources.quality import Quality
from fer_ray.vocabulary import EMOTIONS, Role

Row = dict[str, Any]


def list_ckplus(
    root: Path, selection: Selection, quality: Quality
) -> tuple[list[Row], dict[str, Any]]:
    """List a source in the CK+ layout.

    Args:
        root: The source.
        selection: Which frames to select.
        quality: Counts irregularities.

    Returns:
        The selected rows, and counts of images, subjects and sequences.

    Raises:
        UserError: The source has no CK+ layout or no sequences.
    """
    roots = find_roots(root)
    if roots is None:
        found = {"images_found": 0, "quality": []}
        description = describe_empty_source(root, found, selection.dataset)
        raise UserError(f"{root} does not have the CK+ layout.\n{description}")
    sequences = read_sequences(root, *roots, quality)
    if not sequences:
        raise UserError(
            f"{roots[0]} contains no sequences. Store images as SUBJECT/SESSION/*.png (S005/001/…)."
        )
    figures = {
        "images_found": sum(len(sequence.frames) for sequence in sequences),
        "subjects": len({sequence.subject for sequence in sequences}),
        "sequences": len(sequences),
        "labelled_sequences": sum(sequence.label is not None for sequence in sequences),
    }
    return select_frames(sequences, selection), figures


def select_frames(sequences: list[Sequence], selection: Selection) -> list[Row]:
    """Select frames of CK+ sequences.

    The selection `study` takes one first frame per subject, sampled from those of its labelled
    sequences. One generator samples for all subjects in sorted order, so that the result depends
    only on the seed and the source.
    """
    if selection.frames == "all":
        return [row for sequence in sequences for row in _rows(sequence, sequence.frames)]
    labelled = [sequence for sequence in sequences if sequence.label is not None]
    peaks = [row for sequence in labelled for row in _rows(sequence, sequence.frames[-1:])]
    with_neutral = [sequence for sequence in labelled if len(sequence.frames) > 1]
    if selection.frames == "study":
        with_neutral = _sample_one_per_subject(with_neutral, selection.neutral_seed)
    return peaks + [
        row for sequence in with_neutral for row in _rows(sequence, sequence.frames[:1])
    ]


def _sample_one_per_subject(sequences: list[Sequence], seed: int) -> list[Sequence]:
    by_subject: dict[str, list[Sequence]] = {}
    for sequence in sequences:
        by_subject.setdefault(sequence.subject, []).append(sequence)
    generator = random.Random(seed)
    return [generator.choice(by_subject[subject]) for subject in sorted(by_subject)]


def _rows(sequence: Sequence, frames: tuple[Frame, ...]) -> list[Row]:
    return [_row(sequence, frame) for frame in frames]


def _row(sequence: Sequence, frame: Frame) -> Row:
    role, label = Role.OTHER, None
    if frame is sequence.frames[-1]:
        role, label = Role.PEAK, sequence.label
    elif frame is sequence.frames[0]:
        role, label = Role.NEUTRAL, 0
    return {
        "image_id": frame.image_id,
        "path": frame.path,
        "subject": sequence.subject,
        "session": sequence.session,
        "frame": frame.number,
        "role": role.value,
        "emotion": None if label is None else EMOTIONS[label],
        "label": label,
    }
