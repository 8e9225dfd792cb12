"""Generate a synthetic corpus: a folder tree with the layout and the irregularities of CK+.

```text
OUT/synthetic.json                                             summary, written last
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
from fer_ray.synthetic.sequences import SequencePlan, SubjectPlan, plan_corpus, render_sequence
from fer_ray.synthetic.shapes.action_units import PROTOTYPES
from fer_ray.vocabulary import SYNTHETIC_MARKER

IMAGES, LABELS = "cohn-kanade-images", "Emotion"
# macOS creates this file in every folder that it displays. The official archives are full of them.
DS_STORE = b"\x00\x00\x00\x01Bud1" + bytes(56)


class CorpusExistsError(UserError, FileExistsError):
    """The output folder contains something else."""


@dataclass(frozen=True)
class CorpusSummary:
    """Contents of a corpus, as in its `synthetic.json`."""

    synthetic: bool
    generator: str
    version: str
    seed: int
    subjects: int
    sequences: int
    labelled_sequences: int
    frames: int


def count_frames(subjects: int = 60, seed: int = 2010) -> int:
    """Number of frames that `generate_corpus` renders."""
    return sum(plan.frames for plan in plan_corpus(subjects, seed))


def generate_corpus(
    out: Path,
    subjects: int = 60,
    seed: int = 2010,
    workers: int | None = None,
    on_frame: Callable[[int], None] | None = None,
) -> CorpusSummary:
    """Generate a corpus in `out`, or reuse the same corpus if `out` already contains it.

    The tree is written next to `out` and moved into place when it is complete, so it never appears
    in part. Its bytes depend only on `subjects` and `seed`.

    Args:
        out: Folder that does not exist, is empty, or contains this corpus.
        subjects: Number of subjects, at least 1.
        seed: Random seed.
        workers: Number of processes; None for one per CPU. They are spawned, so a script
            that calls this function needs the usual `if __name__ == "__main__"`.
        on_frame: Called in this process with the number of frames since the last call.

    Raises:
        CorpusExistsError: `out` contains anything else.
        UserError: `out` cannot be written.

    Examples:
        >>> generate_corpus(Path("faces"), subjects=4)  # doctest: +SKIP
    """
    plans = plan_corpus(subjects, seed)
    summary = _summarise(plans, seed)
    if _is_complete(out, summary):
        return summary
    with _scratch_folder(out) as scratch:
        tree = Path(scratch) / "tree"
        _render_subjects(tree, plans, workers or cpu_count() or 1, on_frame or (lambda _: None))
        _write_junk_files(tree, plans)
        (tree / SYNTHETIC_MARKER).write_text(_to_json(summary), encoding="utf-8")
        if out.exists():
            out.rmdir()
        tree.rename(out)
    return summary


@contextmanager
def _scratch_folder(out: Path) -> Iterator[str]:
    """A temporary folder on the file system of `out`."""
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        scratch = TemporaryDirectory(prefix=f".{out.name}.", dir=out.parent)
    except OSError as problem:
        raise UserError(
            f"Cannot write to {out.parent}: {problem.strerror}. Choose another folder."
        ) from None
    with scratch as name:
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


def _is_complete(out: Path, summary: CorpusSummary) -> bool:
    """Return whether `out` contains this corpus; False if it is missing or empty."""
    if not out.exists() or (out.is_dir() and not any(out.iterdir())):
        return False
    marker = out / SYNTHETIC_MARKER
    if not marker.is_file():
        raise CorpusExistsError(
            f"{out} exists and is not a synthetic corpus. Choose another folder."
        )
    if marker.read_text(encoding="utf-8") != _to_json(summary):
        raise CorpusExistsError(
            f"{out} contains another synthetic corpus (see its {SYNTHETIC_MARKER}). "
            "Remove it or choose another folder."
        )
    return True


def _to_json(summary: CorpusSummary) -> str:
    return json.dumps(asdict(summary), indent=2) + "\n"


def _render_subjects(
    tree: Path, plans: list[SubjectPlan], workers: int, on_frame: Callable[[int], None]
) -> None:
    # Spawn, do not fork: the caller may run threads, and OpenCV does not survive a fork.
    context = get_context("spawn")
    count = min(workers, len(plans))
    with ProcessPoolExecutor(count, context, cv2.setNumThreads, (1,)) as pool:
        tasks = [pool.submit(_render_subject, tree, plan) for plan in plans]
        try:
            for task in as_completed(tasks):
                on_frame(task.result())
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise


def _render_subject(tree: Path, plan: SubjectPlan) -> int:
    """Write all sequences of a subject with their labels; return the number of frames."""
    for sequence in plan.sequences:
        folder = Path(f"S{plan.number:03d}") / f"{sequence.session:03d}"
        stem = f"S{plan.number:03d}_{sequence.session:03d}"
        (tree / IMAGES / folder).mkdir(parents=True)
        for number, frame in enumerate(render_sequence(plan, sequence), start=1):
            (tree / IMAGES / folder / f"{stem}_{number:08d}.png").write_bytes(_png(frame.image))
        _write_label(tree / LABELS / folder, f"{stem}_{sequence.frames:08d}", sequence)
    return plan.frames


def _write_label(folder: Path, stem: str, sequence: SequencePlan) -> None:
    if sequence.label_folder:
        folder.mkdir(parents=True)
    if sequence.emotion:
        code = list(PROTOTYPES).index(sequence.emotion)
        (folder / f"{stem}_emotion.txt").write_text(f"   {code:.7e}\n")


def _write_junk_files(tree: Path, plans: list[SubjectPlan]) -> None:
    """Add the `.DS_Store` files of the official archives at every level of the image tree."""
    first = tree / IMAGES / f"S{plans[0].number:03d}"
    for folder in (tree / IMAGES, tree / LABELS, first, first / "001"):
        (folder / ".DS_Store").write_bytes(DS_STORE)


def _png(image: Image) -> bytes:
    done, encoded = cv2.imencode(".png", image)
    if not done:
        raise RuntimeError(f"OpenCV cannot encode an image of shape {image.shape}.")
    return encoded.tobytes()
