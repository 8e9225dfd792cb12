"""Agreement of the reference detectors with the synthetic corpus, measured against targets.

    python -m benchmarks.synthetic_corpus --subjects 70 --seed 90210

Renders new subjects in memory, runs the detectors with the reference settings on every frame, and
compares located landmarks with rendered ones. Exits with 1 if a target is missed.
"""

import argparse
import json
import platform
from concurrent.futures import ProcessPoolExecutor
from importlib.metadata import version
from multiprocessing import get_context
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from sklearn.svm import SVC

from benchmarks.corpus_detection import CorpusFrame, Points, detect_subject
from benchmarks.report import RESULTS, current_commit, today
from fer_ray.features.geometry import reference
from fer_ray.synthetic.sequences import plan_corpus
from fer_ray.vocabulary import CASCADES, EMOTIONS

TRIALS = 10
BROWS = slice(17, 27)
# Landmarks, and their largest mean error relative to the distance between the outer eye corners.
REGIONS = {
    "all 68": (slice(0, 68), 0.035),
    "mouth": (slice(48, 68), 0.020),
    "eyes": (slice(36, 48), 0.030),
    "nose": (slice(27, 36), 0.030),
    "brows": (BROWS, 0.045),
    "jaw": (slice(0, 17), 0.060),
}


class Metric(NamedTuple):
    """One row of the table. `low` and `high` are the bounds of the target; None: no bound."""

    name: str
    value: float
    low: float | None = None
    high: float | None = None

    @property
    def met(self) -> bool:
        """Whether the value is within its bounds."""
        return (self.low is None or self.value >= self.low) and (
            self.high is None or self.value <= self.high
        )

    @property
    def verdict(self) -> str:
        """Whether the target is met, as text."""
        if self.low is None and self.high is None:
            return "–"
        return "yes" if self.met else "NO"

    @property
    def target(self) -> str:
        """The bounds as text."""
        low = [] if self.low is None else [f"≥ {self.low:g}"]
        high = [] if self.high is None else [f"≤ {self.high:g}"]
        return " and ".join(low + high) or "–"


def detection_metrics(frames: list[CorpusFrame]) -> list[Metric]:
    """Measure how often each detector finds exactly one face."""
    detections = [frame.detection for frame in frames]
    counts = [d.dlib_faces for d in detections if d.dlib_faces is not None]
    metrics = [Metric("cascade chain finds exactly one face", len(counts) / len(frames), 0.995)]
    for name in CASCADES:
        low = None if name == "alt_tree" else 0.98
        share = np.mean([detection.faces[name] == 1 for detection in detections])
        metrics.append(Metric(f"cascade {name} finds exactly one", float(share), low))
    share = np.mean([count == 1 for count in counts])
    return [*metrics, Metric("dlib finds exactly one in the crop", float(share), 0.99)]


def landmark_metrics(frames: list[CorpusFrame]) -> list[Metric]:
    """Mean distance between located and rendered landmarks, by region of the face."""
    errors = np.array(
        [
            np.linalg.norm(frame.detection.landmarks - frame.true_landmarks, axis=1)
            / np.linalg.norm(frame.true_landmarks[45] - frame.true_landmarks[36])
            for frame in frames
            if frame.detection.landmarks is not None
        ]
    )
    return [
        Metric(f"landmark error, {name}", float(errors[:, points].mean()), None, limit)
        for name, (points, limit) in REGIONS.items()
    ]


def movement_metrics(frames: list[CorpusFrame]) -> list[Metric]:
    """Correlation over sequences between located and rendered change from neutral to peak."""
    located = {
        (frame.subject, frame.session, frame.role): frame
        for frame in frames
        if frame.detection.landmarks is not None
    }
    pairs = [
        (located[subject, session, "neutral"], peak)
        for (subject, session, role), peak in located.items()
        if role == "peak" and (subject, session, "neutral") in located
    ]
    true_changes = [_change(rest.true_landmarks, peak.true_landmarks) for rest, peak in pairs]
    changes = [_change(rest.detection.landmarks, peak.detection.landmarks) for rest, peak in pairs]
    return [
        Metric(
            f"displacement correlation, {name}",
            float(np.corrcoef([c[name] for c in true_changes], [c[name] for c in changes])[0, 1]),
            0.45 if name == "brows" else 0.85,
        )
        for name in true_changes[0]
    ]


def _change(rest: Any, peak: Any) -> dict[str, float]:
    before, after = _sizes(rest), _sizes(peak)
    return {name: after[name] - before[name] for name in before}


def _sizes(points: Points) -> dict[str, float]:
    """Positions and sizes that expressions change, in a frame aligned with the eyes.

    The unit is the distance between the outer eye corners.
    """
    across = points[45] - points[36]
    right = across / np.linalg.norm(across)
    axes = np.stack([right, [-right[1], right[0]]], axis=1) / np.linalg.norm(across)
    x, y = ((points - points[36:48].mean(axis=0)) @ axes).T
    return {
        "mouth corners": float(y[[48, 54]].mean()),
        "mouth width": float(x[54] - x[48]),
        "mouth opening": float(y[66] - y[62]),
        "eye opening": float(y[[41, 40, 47, 46]].mean() - y[[37, 38, 43, 44]].mean()),
        "brows": float(y[BROWS].mean()),
    }


def svm_metrics(frames: list[CorpusFrame], seed: int) -> list[Metric]:
    """Accuracy of the reference linear SVM in random 80/20 trials by class.

    The images are all peaks and one neutral frame per subject.
    """
    rng = np.random.default_rng(seed)
    usable = [
        frame for frame in frames if frame.emotion and frame.detection.crop_landmarks is not None
    ]
    neutral: dict[int, list[CorpusFrame]] = {}
    for frame in usable:
        if frame.role == "neutral":
            neutral.setdefault(frame.subject, []).append(frame)
    chosen = [(rests[rng.integers(len(rests))], "neutral") for rests in neutral.values()]
    chosen += [(frame, str(frame.emotion)) for frame in usable if frame.role == "peak"]
    features = reference(np.array([frame.detection.crop_landmarks for frame, _ in chosen], float))
    labels = np.array([EMOTIONS.index(emotion) for _, emotion in chosen])
    scores = [_trial(features, labels, rng) for _ in range(TRIALS)]
    name = f"linear SVM on {len(labels)} images, {TRIALS} trials"
    return [
        Metric(f"{name}, mean accuracy", float(np.mean(scores)), 0.80, 0.98),
        Metric(f"{name}, standard deviation", float(np.std(scores, ddof=1))),
    ]


def _trial(features: Points, labels: NDArray[Any], rng: np.random.Generator) -> float:
    members = [rng.permutation(np.flatnonzero(labels == label)) for label in np.unique(labels)]
    train = np.concatenate([rows[: int(0.8 * len(rows))] for rows in members])
    test = np.concatenate([rows[len(rows) - int(0.2 * len(rows)) :] for rows in members])
    model = SVC(kernel="linear", C=1).fit(features[train], labels[train])
    return float(model.score(features[test], labels[test]))


def speed_metrics(frames: list[CorpusFrame]) -> list[Metric]:
    """CPU time of rendering a frame, without encoding and writing it."""
    times = np.array([frame.render_ms for frame in frames])
    return [
        Metric("ms to render a frame, mean", float(times.mean()), None, 100),
        Metric("ms to render a frame, 95th percentile", float(np.percentile(times, 95))),
    ]


def write(metrics: list[Metric], about: dict[str, Any], folder: Path) -> Path:
    """Write `synthetic-corpus.md` and the same values as JSON. Returns the Markdown file."""
    file = folder / "synthetic-corpus.md"
    rows = [f"| {m.name} | {m.value:.3f} | {m.target} | {m.verdict} |" for m in metrics]
    facts = [f"- {name}: {value}" for name, value in about.items()]
    head = ["# The synthetic corpus under the reference detectors", "", *facts, ""]
    table = ["| | measured | target | met |", "|---|---|---|---|", *rows, ""]
    folder.mkdir(parents=True, exist_ok=True)
    file.write_text("\n".join(head + table), encoding="utf-8")
    record = about | {"lines": [metric._asdict() | {"met": metric.met} for metric in metrics]}
    file.with_suffix(".json").write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")
    return file


def main() -> None:
    """Measure and write the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--subjects", type=int, default=70)
    parser.add_argument("--seed", type=int, default=90210, help="seed that was not used for tuning")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--out", type=Path, default=RESULTS)
    options = parser.parse_args()
    plans = plan_corpus(options.subjects, options.seed)
    with ProcessPoolExecutor(options.workers, get_context("spawn")) as pool:
        frames = [frame for subject in pool.map(detect_subject, plans) for frame in subject]
    metrics = detection_metrics(frames) + landmark_metrics(frames) + movement_metrics(frames)
    metrics += svm_metrics(frames, options.seed) + speed_metrics(frames)
    about = {
        "date": today(),
        "commit": current_commit(),
        "subjects": options.subjects,
        "frames": len(frames),
        "seed": options.seed,
        "machine": f"{platform.machine()}, {options.workers} processes",
        "versions": ", ".join(
            f"{name} {version(name)}" for name in ("numpy", "opencv-python-headless")
        ),
    }
    print(write(metrics, about, options.out).read_text(encoding="utf-8"))
    if not all(metric.met for metric in metrics):
        raise SystemExit(1)


if __name__ == "__main__":
    main()
