from pathlib import Path

import cv2
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from fer_ray.errors import UserError
from fer_ray.evaluation.protocols.leakage import (
    audit,
    describe_leaks,
    find_near_duplicates,
    read_identities,
    require_no_leaks,
    unknown_kinds,
)
from fer_ray.evaluation.protocols.splits import Split
from fer_ray.faces.crops import FaceFinder, crop_face
from fer_ray.faces.loaded_models import load_locator
from fer_ray.features.appearance import hog, mirrored_hog
from fer_ray.settings.extraction import ExtractSettings

ROWS = {
    "image_id": ["a", "b", "c", "d", "e"],
    "subject": ["S1", "S1", "S2", "S3", None],
    "session": ["001", "002", "001", "001", None],
    "sha256": ["x", "y", "z", "x", "w"],
}
RNG = np.random.default_rng(3)
# a, b and c look different; d looks like c, and e like a, mirrored.
LOOKS = RNG.random((3, 1764)).astype(np.float32)
LOOKS = np.vstack([LOOKS, LOOKS[2:] + 0.01, mirrored_hog(LOOKS[:1]) + 0.01])


def write(folder: Path, looks: bool = True) -> Path:
    columns = {name: pa.array(values, pa.string()) for name, values in ROWS.items()}
    if looks:
        hog = pa.FixedSizeListArray.from_arrays(pa.array(LOOKS.ravel()), 1764)
        columns["features_hog"] = hog
    pq.write_table(pa.table(columns), folder / "part-0.parquet")
    return folder


def test_counts_of_every_kind(tmp_path: Path) -> None:
    identities = read_identities(write(tmp_path), ROWS["image_id"])
    # Training contains the subject of a (on b), the content of a (d) and the near-duplicate of c
    # (d). e has no subject, and its near-duplicate a is not in training.
    counts = audit(identities, [Split(np.array([1, 3]), np.array([0, 2, 4]))])
    totals = {kind: counts[kind] for kind in ("subject", "sequence", "content", "near_duplicate")}
    assert totals == {"subject": 1, "sequence": 0, "content": 1, "near_duplicate": 1}
    assert counts["test_images"] == 3
    assert counts["splits"] == [{"test_images": 3, **totals}]
    assert describe_leaks(counts)[0] == "1 of 3 test images show a subject who is also in training"
    assert counts["examples"] == {"content": [["a", "d"]], "near_duplicate": [["c", "d"]]}
    with pytest.raises(UserError, match=r"loso.*remove one image of each pair.*: a and d …"):
        require_no_leaks(counts)


def test_split_without_leaks(tmp_path: Path) -> None:
    identities = read_identities(write(tmp_path), ROWS["image_id"])
    counts = audit(identities, [Split(np.array([0, 1]), np.array([2]))])
    assert describe_leaks(counts) == []
    require_no_leaks(counts)


def test_unknown_counts_are_none(tmp_path: Path) -> None:
    identities = read_identities(write(tmp_path, looks=False), ["e", "d"])
    counts = audit(identities, [Split(np.array([1]), np.array([0]))])
    assert counts["near_duplicate"] is counts["subject"] is counts["sequence"] is None
    assert counts["content"] == 0


def test_strict_refuses_unknown_subjects(tmp_path: Path) -> None:
    identities = read_identities(write(tmp_path), ["e", "b"])
    counts = audit(identities, [Split(np.array([1]), np.array([0]))])
    assert unknown_kinds(counts) == ["subject", "sequence"]
    with pytest.raises(UserError, match="subjects are unknown"):
        require_no_leaks(counts)


@pytest.mark.slow
def test_near_duplicates_of_altered_copies(corpus: Path, run_dir: Path) -> None:
    """Faces are detected and aligned in each copy, as in a source that contains both."""
    rows = pq.read_table(run_dir / "frames", columns=["path", "subject", "features_hog"])
    looks = np.stack(rows["features_hog"].to_numpy())
    first = cv2.imread(str(corpus / rows["path"][0].as_py()), cv2.IMREAD_GRAYSCALE)
    small = cv2.resize(first, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA)
    copies = [first[:, ::-1].copy(), small, first[12:-12, 16:-16].copy()]
    n = len(looks)
    pairs = find_near_duplicates(np.vstack([looks, *(hog_of(one)[None, 0] for one in copies)]))
    assert {tuple(pair) for pair in pairs.tolist()} >= {(0, n), (0, n + 1), (0, n + 2)}
    subjects = np.array(rows["subject"].to_pylist() + rows["subject"].to_pylist()[:1] * 3)
    assert (subjects[pairs[:, 0]] == subjects[pairs[:, 1]]).all()
    assert find_near_duplicates(np.zeros((0, 1764), np.float32)).shape == (0, 2)


def hog_of(image: np.ndarray) -> np.ndarray:
    settings = ExtractSettings()
    box = FaceFinder(settings.crop)(image).box_xywh
    assert box is not None
    face = crop_face(image, box)
    points = load_locator(settings.landmarks)(face)[1]
    assert points is not None
    return hog(points[None].astype(float), [face]).astype(np.float32)


def test_vectors_of_the_mirrored_face(tiny_corpus: Path) -> None:
    image = cv2.imread(str(next(tiny_corpus.rglob("*.png"))), cv2.IMREAD_GRAYSCALE)
    face = cv2.resize(image, (128, 128))
    descriptor = cv2.HOGDescriptor((128, 128), (32, 32), (16, 16), (16, 16), 9)
    own, mirrored = (np.ravel(descriptor.compute(one)) for one in (face, face[:, ::-1].copy()))
    assert np.corrcoef(mirrored_hog(own[None])[0], mirrored)[0, 1] > 0.99
