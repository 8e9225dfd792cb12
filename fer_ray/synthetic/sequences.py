"""What a corpus holds: subjects, their sequences, and the frames of one sequence.

Everything follows from the corpus seed, so that a plan costs nothing and subjects can be drawn in
any order.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np

from fer_ray.synthetic.drawing.camera import ROWS_CUT, cropped_to_480, in_colour
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
MIN_SEQUENCES = 10  # of each emotion, where there are as many subjects
# The last subjects of CK+ were recorded later; only they show contempt.
LATER_SHARE = 0.16
LATER_NUMBER = 138
UNLABELLED_SHARE = 0.4  # chance of a subject to have an unlabelled sequence
SHORT_SHARE = 0.2  # chance of a subject to be filmed at 640×480
COLOUR_SHARE = 0.12


@dataclass(frozen=True)
class SequencePlan:
    """One sequence of a subject."""

    session: int  # 1, 2 … within the subject
    emotion: str | None  # None: unlabelled
    frames: int
    label_folder: bool  # a sequence without a label has an empty folder for it, or none


@dataclass(frozen=True)
class SubjectPlan:
    """One subject of a corpus."""

    number: int  # as in S005
    seed: tuple[int, int]  # corpus seed, place in the corpus
    short: bool  # filmed at 640×480
    colour: bool
    sequences: list[SequencePlan] = field(default_factory=list)

    @property
    def frames(self) -> int:
        """Frames over all sequences."""
        return sum(sequence.frames for sequence in self.sequences)


def plan_corpus(subjects: int, seed: int) -> list[SubjectPlan]:
    """All subjects of a corpus with their sequences, in proportions like those of CK+.

    Args:
        subjects: how many, at least 1.
        seed: of the whole corpus.
    """
    if subjects < 1:
        raise ValueError(f"A corpus needs at least one subject, not {subjects}.")
    rng = np.random.default_rng([seed, 1])
    later = min(subjects, max(MIN_SEQUENCES, round(LATER_SHARE * subjects)))
    emotions = _deal_emotions(subjects, later, rng)
    numbers = _number_subjects(subjects, later, rng)
    plans = []
    for place, number in enumerate(numbers):
        short, colour = bool(rng.random() < SHORT_SHARE), bool(rng.random() < COLOUR_SHARE)
        plan = SubjectPlan(number, (seed, place), short, colour)
        shown: list[str | None] = [*emotions[place]]
        shown += [None] * int(rng.random() < UNLABELLED_SHARE)
        for session, index in enumerate(rng.permutation(len(shown)), start=1):
            frames = int(rng.integers(3, 5))
            label_folder = shown[index] is not None or bool(rng.random() < 0.5)
            plan.sequences.append(SequencePlan(session, shown[index], frames, label_folder))
        plans.append(plan)
    return plans


def draw_sequence(subject: SubjectPlan, sequence: SequencePlan) -> Iterator[Frame]:
    """The frames of a sequence from neutral to peak, all of the subject's frame format.

    Landmarks are in pixels of the frame that is yielded.
    """
    identity = sample_subject(subject.seed)
    rng = np.random.default_rng([*subject.seed, sequence.session, 7])
    units = PROTOTYPES[sequence.emotion] if sequence.emotion else _unnamed_units(rng)
    peak = sample_expression(units, identity.expressiveness, rng)
    rest = sample_expression(PROTOTYPES["neutral"], identity.expressiveness, rng)
    for frame in range(sequence.frames):
        share = float(smooth_step(frame / (sequence.frames - 1), 0, 1))
        expression = peak.scaled(share) if frame else rest
        yield _formatted(render(identity, expression, rng), subject)


def _formatted(frame: Frame, subject: SubjectPlan) -> Frame:
    image, landmarks = frame
    if subject.short:
        image, landmarks = cropped_to_480(image), landmarks - np.array([0, ROWS_CUT])
    return Frame(in_colour(image) if subject.colour else image, landmarks)


def _deal_emotions(subjects: int, later: int, rng: np.random.Generator) -> list[list[str]]:
    """Emotions that each subject shows; everyone shows at least one, contempt only the last."""
    dealt: list[list[str]] = [[] for _ in range(subjects)]
    for emotion, sequences in CK_SEQUENCES.items():
        count = min(subjects, max(MIN_SEQUENCES, round(sequences * subjects / CK_SUBJECTS)))
        first = subjects - later if emotion == "contempt" else 0
        able = np.arange(first, subjects)
        for place in rng.choice(able, min(count, len(able)), replace=False):
            dealt[place].append(emotion)
    for place in range(subjects):
        if not dealt[place]:
            richest = max(dealt, key=len)
            dealt[place].append(richest.pop(0))
    return dealt


def _number_subjects(subjects: int, later: int, rng: np.random.Generator) -> list[int]:
    """Numbers as in S005: ascending, with gaps; the later cohort starts at 138 or beyond."""
    early = 5 + np.cumsum(rng.integers(1, 4, subjects - later)) - 1
    start = max(LATER_NUMBER, int(early[-1]) + 10 if len(early) else 0)
    late = start + np.cumsum(rng.integers(1, 6, later)) - 1
    return [int(number) for number in (*early, *late)]


def _unnamed_units(rng: np.random.Generator) -> tuple[Unit, ...]:
    """Action units of two prototypes mixed: a pose to which no emotion can be put."""
    one, other = rng.choice([name for name in PROTOTYPES if name != "neutral"], 2, replace=False)
    mixed = PROTOTYPES[str(one)][::2] + PROTOTYPES[str(other)][1::2]
    return tuple({unit.number: unit for unit in mixed}.values())
