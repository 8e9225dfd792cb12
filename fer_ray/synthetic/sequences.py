"""The subjects and sequences of a corpus, and the frames of a sequence.

Everything derives from the corpus seed, so plans are cheap and subjects can be rendered in any
order.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np

from fer_ray.synthetic.drawing.camera import ROWS_CUT, crop_to_480, tint
from fer_ray.synthetic.drawing.render import Frame, render
from fer_ray.synthetic.shapes.action_units import PROTOTYPES, Unit, sample_expression
from fer_ray.synthetic.shapes.curves import smooth_step
from fer_ray.synthetic.shapes.subject import sample_subject

# Labelled sequences of CK+ by emotion, over 118 subjects (Lucey et al., CVPR 2010 workshops).
CK_SUBJECTS = 118
CK_SEQUENCES = {
    "anger": 45,
    "contempt": 18,
    "disgust": 59,
    "fear": 25,
    "happy": 69,
    "sadness": 28,
    "surprise": 83,
}
MIN_SEQUENCES = 10  # of each emotion, if there are that many subjects
# The last subjects of CK+ were recorded later. Only they show contempt.
LATER_SHARE = 0.16
LATER_NUMBER = 138
UNLABELLED_SHARE = 0.4  # probability that a subject has an unlabelled sequence
SHORT_SHARE = 0.2  # probability that a subject is recorded at 640×480
COLOUR_SHARE = 0.12  # probability that a subject is recorded in colour


@dataclass(frozen=True)
class SequencePlan:
    """One sequence of a subject."""

    session: int  # 1, 2, … within the subject
    emotion: str | None  # None: unlabelled
    frames: int
    label_folder: bool  # whether a label folder exists; it is empty for some unlabelled sequences


@dataclass(frozen=True)
class SubjectPlan:
    """One subject of a corpus."""

    number: int  # as in S005
    seed: tuple[int, int]  # corpus seed, index in the corpus
    short: bool  # recorded at 640×480
    colour: bool
    sequences: list[SequencePlan] = field(default_factory=list)

    @property
    def frames(self) -> int:
        """Number of frames in all sequences."""
        return sum(sequence.frames for sequence in self.sequences)


def plan_corpus(subjects: int, seed: int) -> list[SubjectPlan]:
    """Plan the subjects of a corpus and their sequences, in the proportions of CK+.

    Args:
        subjects: Number of subjects, at least 1.
        seed: Corpus seed.

    Raises:
        ValueError: `subjects` is less than 1.
    """
    if subjects < 1:
        raise ValueError(f"A corpus needs at least one subject, not {subjects}.")
    rng = np.random.default_rng([seed, 1])
    later = min(subjects, max(MIN_SEQUENCES, round(LATER_SHARE * subjects)))
    emotions = _assign_emotions(subjects, later, rng)
    numbers = _subject_numbers(subjects, later, rng)
    plans = []
    for index, number in enumerate(numbers):
        short, colour = bool(rng.random() < SHORT_SHARE), bool(rng.random() < COLOUR_SHARE)
        plan = SubjectPlan(number, (seed, index), short, colour)
        labels: list[str | None] = [*emotions[index]]
        labels += [None] * int(rng.random() < UNLABELLED_SHARE)
        for session, position in enumerate(rng.permutation(len(labels)), start=1):
            frames = int(rng.integers(3, 5))
            label_folder = labels[position] is not None or bool(rng.random() < 0.5)
            plan.sequences.append(SequencePlan(session, labels[position], frames, label_folder))
        plans.append(plan)
    return plans


def render_sequence(subject: SubjectPlan, sequence: SequencePlan) -> Iterator[Frame]:
    """Render the frames of a sequence from neutral to peak, in the subject's frame format.

    Yields:
        Frames with landmarks in pixels of the image.
    """
    identity = sample_subject(subject.seed)
    rng = np.random.default_rng([*subject.seed, sequence.session, 7])
    units = PROTOTYPES[sequence.emotion] if sequence.emotion else _mixed_units(rng)
    peak = sample_expression(units, identity.expressiveness, rng)
    rest = sample_expression(PROTOTYPES["neutral"], identity.expressiveness, rng)
    for frame in range(sequence.frames):
        share = float(smooth_step(frame / (sequence.frames - 1), 0, 1))
        expression = peak.scaled(share) if frame else rest
        yield _format_frame(render(identity, expression, rng), subject)


def _format_frame(frame: Frame, subject: SubjectPlan) -> Frame:
    image, landmarks = frame
    if subject.short:
        image, landmarks = crop_to_480(image), landmarks - np.array([0, ROWS_CUT])
    return Frame(tint(image) if subject.colour else image, landmarks)


def _assign_emotions(subjects: int, later: int, rng: np.random.Generator) -> list[list[str]]:
    """Emotions of each subject, at least one. Only the last `later` subjects show contempt."""
    assigned: list[list[str]] = [[] for _ in range(subjects)]
    for emotion, sequences in CK_SEQUENCES.items():
        count = min(subjects, max(MIN_SEQUENCES, round(sequences * subjects / CK_SUBJECTS)))
        first = subjects - later if emotion == "contempt" else 0
        eligible = np.arange(first, subjects)
        for subject in rng.choice(eligible, min(count, len(eligible)), replace=False):
            assigned[subject].append(emotion)
    for subject in range(subjects):
        if not assigned[subject]:
            longest = max(assigned, key=len)
            assigned[subject].append(longest.pop(0))
    return assigned


def _subject_numbers(subjects: int, later: int, rng: np.random.Generator) -> list[int]:
    """Ascending numbers with gaps, as in S005; those of later subjects start at 138 or above."""
    early = 5 + np.cumsum(rng.integers(1, 4, subjects - later)) - 1
    start = max(LATER_NUMBER, int(early[-1]) + 10 if len(early) else 0)
    late = start + np.cumsum(rng.integers(1, 6, later)) - 1
    return [int(number) for number in (*early, *late)]


def _mixed_units(rng: np.random.Generator) -> tuple[Unit, ...]:
    """A mixture of the action units of two prototypes, which expresses no single emotion."""
    names = [name for name in PROTOTYPES if name != "neutral"]
    first, second = rng.choice(names, 2, replace=False)
    mixed = PROTOTYPES[str(first)][::2] + PROTOTYPES[str(second)][1::2]
    return tuple({unit.number: unit for unit in mixed}.values())
