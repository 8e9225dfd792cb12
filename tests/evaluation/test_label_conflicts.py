import shutil
from pathlib import Path

import cv2
import pytest

from fer_ray.evaluation.label_issues import find_conflicts, read_labelled
from fer_ray.execution.progress import silent
from fer_ray.pipelines.run import run_extract
from fer_ray.settings.root import Settings
from tests.images import read_gray


@pytest.fixture
def faces_in_folders(tiny_corpus: Path, tmp_path: Path) -> Path:
    """Peaks of two people in two folders, and copies of two of them."""
    data = tmp_path / "faces"
    sequences = sorted({file.parent for file in tiny_corpus.glob("cohn-kanade-images/*/*/*.png")})
    for number, sequence in enumerate(sequences):
        folder = data / ("happy" if number % 2 else "anger")
        folder.mkdir(parents=True, exist_ok=True)
        shutil.copy(max(sequence.glob("*.png")), folder / f"{number}.png")
    (data / "fear").mkdir()
    image = read_gray(data / "happy" / "1.png")
    for copy, quality in (("fear/compressed.jpg", 70), ("happy/1.jpg", 80)):
        cv2.imwrite(str(data / copy), image, [cv2.IMWRITE_JPEG_QUALITY, quality])
    shutil.copy(data / "anger" / "2.png", data / "fear" / "copy.png")
    return data


def test_copies_under_two_labels_without_subjects(faces_in_folders: Path, tmp_path: Path) -> None:
    settings = Settings.model_validate(
        {"profile": "fast", "execution": {"executor": "in-process", "workers": 1}}
    )
    run_extract(faces_in_folders, tmp_path / "run", settings, silent)
    frames = tmp_path / "run" / "frames"
    conflicts = find_conflicts(read_labelled(frames), frames)
    assert conflicts == {
        "happy/1.png": ("near_duplicate", ["fear/compressed.jpg"]),
        "happy/1.jpg": ("near_duplicate", ["fear/compressed.jpg"]),
        "fear/compressed.jpg": ("near_duplicate", ["happy/1.jpg", "happy/1.png"]),
        "anger/2.png": ("content", ["fear/copy.png"]),
        "fear/copy.png": ("content", ["anger/2.png"]),
    }
