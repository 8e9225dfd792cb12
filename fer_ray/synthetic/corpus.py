"""Writing a corpus as a folder tree with the layout and the quirks of CK+.

```text
OUT/synthetic.json                                             what was drawn, written last
OUT/cohn-kanade-images/S005/001/S005_001_00000001.png …        first frame neutral, last frame peak
OUT/Emotion/S005/001/S005_001_00000004_emotion.txt             `   3.0000000e+00`
```
"""

import json
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from multiprocessing import get_context
from os import cpu_count
from pathlib import Path
from tempfile import TemporaryDirectory

import cv2

from fer_ray import __version__
from fer_ray.errors import UserError
from fer_ray.synthetic.drawing.camera import Image
from fer_ray.synthetic.sequences import SequencePlan, SubjectPlan, draw_sequence, plan_corpus
from fer_ray.synthetic.shapes.action_units import PROTOTYPES

IMAGES, LABELS, MARKER = "cohn-kanade-images", "Emotion", "synthetic.json"
# What a Mac leaves behind in every folder that it showed; the official archives are full of them.
DS_STORE = b"\x00\x00\x00\x01Bud1" + bytes(56)


class CorpusExistsError(UserError, FileExistsError):
    """The folder to draw into holds something else."""


@dataclass(frozen=True)
class CorpusSummary:
    """What a corpus holds; the content of its marker file."""

    synthetic: bool
    generator: str
    version: str
    seed: int
    subjects: int
    sequences: int
    labelled_sequences: int
    frames: int


def frames_to_draw(subjects: int = 60, seed: int = 2010) -> int:
    """How many frames `draw_corpus` will draw."""
    return sum(plan.frames for plan in plan_corpus(subjects, seed))


def draw_corpus(
    out: Path,
    subjects: int = 60,
    seed: int = 2010,
    workers: int | None = None,
    on_frame: Callable[[int], None] | None = None,
) -> CorpusSummary:
    """Draw a corpus into `out`, or reuse the same corpus where it is there already.

    The tree is drawn beside `out` and moved into place when it is complete, so that no reader
    meets half of it. The bytes depend on `subjects` and `seed` only.

    Args:
        out: folder that does not exist yet, is empty, or holds this very corpus.
        subjects: how many people, at least 1.
        seed: of everything random.
        workers: processes that draw; None for one per processor. They are spawned, so a script
            that calls this needs the usual `if __name__ == "__main__"`.
        on_frame: called in this process with the number of frames drawn since the last call.

    Raises:
        CorpusExistsError: `out` holds anything else.
    """
    plans = plan_corpus(subjects, seed)
    summary = _summarise(plans, seed)
    if _holds(out, summary):
        return summary
    with _folder_beside(out) as beside:
        tree = Path(beside) / "tree"
        _draw_subjects(tree, plans, workers or cpu_count() or 1, on_frame or (lambda _: None))
        _litter(tree, plans)
        (tree / MARKER).write_text(_marker(summary), encoding="utf-8")
        if out.exists():
            out.rmdir()
        tree.rename(out)
    return summary


@contextmanager
def _folder_beside(out: Path) -> Iterator[str]:
    """A folder on the same file system, which is removed at the end."""
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        beside = TemporaryDirectory(prefix=f".{out.name}.", dir=out.parent)
    except OSError as problem:
        raise UserError(f"Cannot write into {out.parent}: {problem.strerror}.") from None
    with beside as name:
        yield name


def _summarise(plans: list[SubjectPlan], seed: int) -> CorpusSummary:
    sequences = [sequence for plan in plans for sequence in plan.sequences]
    return CorpusSummary(
        synthetic=True,
        generator="fer_ray",
        version=__version__,
        seed=seed,
        subjects=len(plans),
        sequences=len(sequences),
        labelled_sequences=sum(sequence.emotion is not None for sequence in sequences),
        frames=sum(sequence.frames for sequence in sequences),
    )


def _holds(out: Path, summary: CorpusSummary) -> bool:
    """Whether `out` is this corpus; False where there is nothing."""
    if not out.exists() or (out.is_dir() and not any(out.iterdir())):
        return False
    marker = out / MARKER
    if not marker.is_file():
        raise CorpusExistsError(f"{out} exists and is no synthetic corpus. Choose another folder.")
    if marker.read_text(encoding="utf-8") != _marker(summary):
        raise CorpusExistsError(
            f"{out} holds another synthetic corpus (see {MARKER} in it). "
            "Remove it or choose another folder."
        )
    return True


def _marker(summary: CorpusSummary) -> str:
    return json.dumps(asdict(summary), indent=2) + "\n"


def _draw_subjects(
    tree: Path, plans: list[SubjectPlan], workers: int, on_frame: Callable[[int], None]
) -> None:
    # Spawned, not forked: the caller may hold threads, and OpenCV does not survive a fork.
    context = get_context("spawn")
    count = min(workers, len(plans))
    with ProcessPoolExecutor(count, context, cv2.setNumThreads, (1,)) as pool:
        drawings = [pool.submit(_draw_subject, tree, plan) for plan in plans]
        try:
            for drawing in as_completed(drawings):
                on_frame(drawing.result())
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise


def _draw_subject(tree: Path, plan: SubjectPlan) -> int:
    """All sequences of one subject with their labels; the number of frames."""
    for sequence in plan.sequences:
        folder = Path(f"S{plan.number:03d}") / f"{sequence.session:03d}"
        stem = f"S{plan.number:03d}_{sequence.session:03d}"
        (tree / IMAGES / folder).mkdir(parents=True)
        for number, frame in enumerate(draw_sequence(plan, sequence), start=1):
            (tree / IMAGES / folder / f"{stem}_{number:08d}.png").write_bytes(_png(frame.image))
        _label(tree / LABELS / folder, f"{stem}_{sequence.frames:08d}", sequence)
    return plan.frames


def _label(folder: Path, stem: str, sequence: SequencePlan) -> None:
    if sequence.label_folder:
        folder.mkdir(parents=True)
    if sequence.emotion:
        code = list(PROTOTYPES).index(sequence.emotion)
        (folder / f"{stem}_emotion.txt").write_text(f"   {code:.7e}\n")


def _litter(tree: Path, plans: list[SubjectPlan]) -> None:
    """Leave the stray files of the official archives at every level of the image tree."""
    first = tree / IMAGES / f"S{plans[0].number:03d}"
    for folder in (tree / IMAGES, tree / LABELS, first, first / "001"):
        (folder / ".DS_Store").write_bytes(DS_STORE)


def _png(image: Image) -> bytes:
    done, encoded = cv2.imencode(".png", image)
    if not done:
        raise RuntimeError(f"OpenCV could not encode an image of shape {image.shape}.")
    return encoded.tobytes()
