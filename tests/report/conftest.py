"""A small, seeded run folder like that of `fer-ray run`, with a source of synthetic faces."""

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from fer_ray.evaluation import metrics
from fer_ray.report.figures import themed_picture
from fer_ray.report.run_page import write_report
from fer_ray.schemas import PREDICTIONS_SCHEMA, TRIALS_SCHEMA, frames_schema
from fer_ray.vocabulary import EMOTIONS, SCHEMA_VERSION
from tests.conftest import made_once

SUBJECTS = [f"S{number:03d}" for number in range(1, 17)]
BOX_XYWH = [170, 80, 300, 300]


@dataclass(frozen=True)
class BuiltRun:
    run_dir: Path
    source_root: Path


def mean_landmarks_xy() -> np.ndarray:
    """Landmarks of a frontal face in the 68-point scheme, in pixels of a 350 × 350 crop."""

    def ellipse(cx, cy, rx, ry, degrees):
        angles = np.radians(degrees)
        return np.column_stack([cx + rx * np.cos(angles), cy + ry * np.sin(angles)])

    def line(x0, y0, x1, y1, n):
        return np.column_stack([np.linspace(x0, x1, n), np.linspace(y0, y1, n)])

    hexagon = [180, 240, 300, 0, 60, 120]
    return np.vstack(
        [
            ellipse(175, 150, 130, 170, np.linspace(185, -5, 17)),
            line(75, 110, 150, 105, 5),
            line(200, 105, 275, 110, 5),
            line(175, 135, 175, 195, 4),
            line(150, 212, 200, 212, 5),
            ellipse(115, 140, 24, 10, hexagon),
            ellipse(235, 140, 24, 10, hexagon),
            ellipse(175, 265, 55, 22, np.linspace(180, 510, 12)),
            ellipse(175, 265, 42, 8, np.linspace(180, 495, 8)),
        ]
    ).astype(np.float32)


def draw_face(rng: np.random.Generator) -> np.ndarray:
    """Draw a gray image of 490 × 640 pixels with a simple face in `BOX_XYWH`."""
    image = np.full((490, 640), 90, np.uint8)
    cv2.ellipse(image, (320, 230), (125, 150), 0, 0, 360, int(rng.integers(150, 230)), -1)
    for x in (268, 372):
        cv2.ellipse(image, (x, 200), (22, 10), 0, 0, 360, 40, -1)
    cv2.ellipse(image, (320, 308), (48, int(rng.integers(6, 26))), 0, 0, 360, 60, -1)
    noise = rng.normal(0, 2, image.shape)
    return np.clip(image + noise, 0, 255).astype(np.uint8)


def frame_row(path: str, subject: str, emotion: str, content: bytes, rng) -> dict[str, Any]:
    landmarks = mean_landmarks_xy() + rng.normal(0, 2, (68, 2))
    return {
        "image_id": Path(path).stem,
        "path": path,
        "subject": subject,
        "session": "001",
        "frame": 1,
        "role": "neutral" if emotion == "neutral" else "peak",
        "emotion": emotion,
        "label": EMOTIONS.index(emotion),
        "status": "ok",
        "stage": "features",
        "sha256": hashlib.sha256(content).hexdigest(),
        "width": 640,
        "height": 490,
        "detector": "default",
        "crop_angle": 0.0,
        "other_faces": 0,
        "box_xywh": BOX_XYWH,
        "cascade_faces": {"default": 1},
        "landmark_faces": 1,
        "landmarks_xy": landmarks.astype(np.float32).ravel().tolist(),
    }


def write_source(root: Path, rng: np.random.Generator, stem: str) -> list[dict[str, Any]]:
    """Write three images per subject: neutral and two other emotions, covering all classes."""
    rows = []
    for number, subject in enumerate(SUBJECTS):
        emotions = ["neutral", EMOTIONS[1 + number % 7], EMOTIONS[1 + (number + 3) % 7]]
        for session, emotion in enumerate(emotions, start=1):
            path = f"cohn-kanade-images/{subject}/{session:03d}/{stem}{subject}_{session:03d}.png"
            file = root / path
            file.parent.mkdir(parents=True, exist_ok=True)
            cv2.imwrite(str(file), draw_face(rng))
            rows.append(frame_row(path, subject, emotion, file.read_bytes(), rng))
    return rows


def failed(row: dict[str, Any], status: str) -> dict[str, Any]:
    """The same row, with a status of failure."""
    empty = dict.fromkeys(("detector", "crop_angle", "box_xywh", "landmark_faces", "landmarks_xy"))
    return {**row, **empty, "image_id": f"{row['image_id']}-{status}", "status": status,
            "stage": "crop", "error": "set by the test"}  # fmt: skip


def splits(protocol: str, images: list[dict[str, Any]], n_trials: int, rng) -> list[np.ndarray]:
    """Indices of the test images of each trial."""
    subjects = np.array([row["subject"] for row in images])
    if protocol == "random":
        return [rng.permutation(len(images))[: len(images) // 5] for _ in range(n_trials)]
    n_folds = len(SUBJECTS) if protocol == "loso" else n_trials
    return [np.flatnonzero(np.isin(subjects, SUBJECTS[i::n_folds])) for i in range(n_folds)]


def write_experiment(
    run_dir: Path, images: list[dict[str, Any]], classifier: str, protocol: str,
    hit_rate: float, n_trials: int = 10, settings: str = "", feature_set: str = "reference",
    metadata: dict[str, Any] | None = None,
) -> None:  # fmt: skip
    """Write trials and predictions of an experiment with an accuracy of about `hit_rate`.

    `settings` is the end of its name, and `metadata` is written into its trials file. Of the
    settings, only classes=7 has an effect.
    """
    if "-classes=7" in settings:
        images = [row for row in images if row["emotion"] != "neutral"]
    shared = 0.9 if protocol == "random" else 0.0
    split_rng, rng = np.random.default_rng(5), np.random.default_rng([7, int(100 * hit_rate)])
    name = f"{classifier}-{feature_set}-{protocol}{settings}"
    trials, predictions = [], []
    for trial, test in enumerate(splits(protocol, images, n_trials, split_rng)):
        labels = np.array([images[i]["label"] for i in test])
        right = rng.random(len(test)) < hit_rate
        predicted = np.where(right, labels, (labels + rng.integers(1, 8, len(test))) % 8)
        chances = rng.dirichlet(np.full(8, 0.3), len(test)) * 0.4
        chances[np.arange(len(test)), predicted] += 0.6
        recall, f1 = metrics.macro_recall_and_f1(labels, predicted)
        trials.append(
            {
                "experiment": name,
                "fingerprint": "f" * 64,
                "classifier": classifier,
                "feature_set": feature_set,
                "protocol": protocol,
                "trial": trial,
                "seed": trial,
                "n_train": len(images) - len(test),
                "n_test": len(test),
                "test_subject_in_train": shared if images[0]["subject"] else None,
                "train_accuracy": 1.0,
                "test_accuracy": float(np.mean(labels == predicted)),
                "train_log_loss": 0.3,
                "test_log_loss": metrics.log_loss(labels, chances),
                "test_macro_recall": recall,
                "test_macro_f1": f1,
                "seconds": 0.1,
            }
        )
        predictions += [
            {"experiment": name, "trial": trial, "image_id": images[i]["image_id"],
             "label": label, "predicted": guess, "probabilities": chance}
            for i, label, guess, chance in zip(test, labels, predicted, chances, strict=True)
        ]  # fmt: skip
    recorded = {key: json.dumps(value) for key, value in (metadata or {}).items()}
    write_rows(run_dir / "trials" / f"{name}.parquet", trials, TRIALS_SCHEMA, recorded)
    write_rows(run_dir / "predictions" / f"{name}.parquet", predictions, PREDICTIONS_SCHEMA)


def write_rows(
    file: Path,
    rows: list[dict[str, Any]],
    schema: pa.Schema,
    recorded: dict[str, str] | None = None,
) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    marked = schema.with_metadata(
        {"fer_ray.schema_version": str(SCHEMA_VERSION), **(recorded or {})}
    )
    pq.write_table(pa.Table.from_pylist(rows, schema=marked), file)


def extract_record(rows: list[dict[str, Any]], root: Path, synthetic: bool) -> dict[str, Any]:
    statuses = [row["status"] for row in rows]
    emotions = [row["emotion"] for row in rows]
    return {
        "schema_version": SCHEMA_VERSION,
        "fer_ray_version": "0.1.0",
        "fingerprint": "0123456789abcdef",
        "source_digest": "fedcba9876543210",
        "settings": {"selection": {"neutral_seed": 123}, "crop": {"size_px": 350}},
        "data": {
            "root": str(root), "layout": "ckplus", "synthetic": synthetic, "images_found": 200,
            "subjects": len(SUBJECTS), "sequences": 40, "labelled_sequences": 32,
            "selected": len(rows), "sizes": {"640×490": len(rows)},
            "modes": {"L": len(rows) - 2, "RGB": 2},
            "selected_by_emotion": {name: emotions.count(name) for name in EMOTIONS},
            "quality": [{"kind": "junk_file", "meaning": "files left behind", "count": 2,
                         "examples": [".DS_Store"]}],
        },
        "counts": {status: statuses.count(status) for status in sorted(set(statuses))},
        "detectors": {"default": statuses.count("ok")},
        "files": {"part-0.parquet": len(rows)},
        "timings": {"list_seconds": 0.1, "extract_seconds": 31.0, "images_per_second": 13.9},
    }  # fmt: skip


EXPERIMENTS = (
    ("svm-linear", "random", 0.7),
    ("svm-poly", "random", 0.5),
    ("svm-linear", "subject-10fold", 0.6),
    ("svm-poly", "subject-10fold", 0.5),
    ("svm-linear", "loso", 0.6),
)


def build(
    folder: Path,
    synthetic: bool = False,
    experiments: tuple[tuple[Any, ...], ...] = EXPERIMENTS,
    stem: str = "",
    subjects_known: bool = True,
) -> BuiltRun:
    """Build a run folder; experiments are (classifier, protocol, hit rate, optional keywords)."""
    rng = np.random.default_rng(2)
    run_dir, root = folder / "run", folder / "source"
    run_dir.mkdir()
    images = write_source(root, rng, stem)
    for row in () if subjects_known else images:
        row["subject"] = None
    rows = [*images, failed(images[0], "no_face"), failed(images[1], "no_landmarks")]
    write_rows(run_dir / "frames" / "part-0.parquet", rows, frames_schema({}))
    (run_dir / "extract.json").write_text(json.dumps(extract_record(rows, root, synthetic)))
    for classifier, protocol, hit_rate, *more in experiments:
        write_experiment(run_dir, images, classifier, protocol, hit_rate, **dict(*more))
    return BuiltRun(run_dir, root)


@pytest.fixture
def build_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., BuiltRun]:
    """Builds a run folder; figures of its report are small, since they take most of the time."""
    monkeypatch.setattr(themed_picture, "DPI", 40)
    return partial(build, tmp_path)


def write_page(folder: Path, synthetic: bool) -> None:
    built = build(folder, synthetic)
    write_report(built.run_dir, built.source_root, show_faces=False)


@pytest.fixture(scope="session")
def plain_page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The page of photographs whose faces may not be shown. Read-only."""
    folder = made_once(tmp_path_factory, "plain", partial(write_page, synthetic=False))
    return folder / "run" / "report" / "index.html"


@pytest.fixture(scope="session")
def synthetic_page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The page of synthetic faces. Read-only."""
    folder = made_once(tmp_path_factory, "synthetic", partial(write_page, synthetic=True))
    return folder / "run" / "report" / "index.html"
