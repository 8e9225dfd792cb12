from pathlib import Path

import cv2
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from fer_ray.errors import UserError
from fer_ray.evaluation.leakage import (
    audit,
    near_duplicates,
    read_identities,
    refuse_leaks,
    told,
    unknown,
)
from fer_ray.evaluation.splits import Split
from fer_ray.faces.crops import FaceFinder, cut
from fer_ray.faces.landmarks import LandmarkLocator
from fer_ray.features.appearance import hog, mirrored_hog
from fer_ray.settings.extraction import ExtractSettings

ROWS = {
    "image_id": ["a", "b", "c", "d", "e"],
    "subject": ["S1", "S1", "S2", "S3", None],
    "session": ["001", "002", "001", "001", None],
    "sha256": ["x", "y", "z", "x", "w"],
}
RNG = np.random.default_rng(3)
# Of a, b and c each its own; d looks as c does, and e as a does, mirrored.
LOOKS = RNG.random((3, 1764)).astype(np.float32)
LOOKS = np.vstack([LOOKS, LOOKS[2:] + 0.01, mirrored_hog(LOOKS[:1]) + 0.01])


def write(folder: Path, looks: bool = True) -> Path:
    columns = {name: pa.array(values, pa.string()) for name, values in ROWS.items()}
    if looks:
        hog = pa.FixedSizeListArray.from_arrays(pa.array(LOOKS.ravel()), 1764)
        columns["features_hog"] = hog
    pq.write_table(pa.table(columns), folder / "part-0.parquet")
    return folder


def test_every_kind_of_leak_is_counted(tmp_path: Path) -> None:
    found = read_identities(write(tmp_path), ROWS["image_id"])
    # Test a: its subject (b) and content (d) are in training; test c: its look (d); test e: nothing
    # is known of it but its file and its look, which a has, and a is not in training.
    counts = audit(found, [Split(np.array([1, 3]), np.array([0, 2, 4]))])
    totals = {kind: counts[kind] for kind in ("subject", "sequence", "content", "near_duplicate")}
    assert totals == {"subject": 1, "sequence": 0, "content": 1, "near_duplicate": 1}
    assert counts["test_images"] == 3
    assert counts["splits"] == [{"test_images": 3, **totals}]
    assert told(counts)[0] == "1 of 3 test images show a subject who is also in training"
    assert counts["examples"] == {"content": [["a", "d"]], "near_duplicate": [["c", "d"]]}
    with pytest.raises(UserError, match=r"loso.*take one of each pair out.*: a and d …"):
        refuse_leaks(counts)


def test_a_split_that_shares_nothing_passes(tmp_path: Path) -> None:
    found = read_identities(write(tmp_path), ROWS["image_id"])
    counts = audit(found, [Split(np.array([0, 1]), np.array([2]))])
    assert told(counts) == []
    refuse_leaks(counts)


def test_what_is_not_known_is_not_counted_as_none(tmp_path: Path) -> None:
    found = read_identities(write(tmp_path, looks=False), ["e", "d"])
    counts = audit(found, [Split(np.array([1]), np.array([0]))])
    assert counts["near_duplicate"] is counts["subject"] is counts["sequence"] is None
    assert counts["content"] == 0


def test_people_who_are_not_known_are_refused_by_strict(tmp_path: Path) -> None:
    found = read_identities(write(tmp_path), ["e", "b"])
    counts = audit(found, [Split(np.array([1]), np.array([0]))])
    assert unknown(counts) == ["subject", "sequence"]
    with pytest.raises(UserError, match="not known who is on the images"):
        refuse_leaks(counts)


@pytest.mark.slow
def test_a_changed_copy_looks_the_same_and_another_person_does_not(
    corpus: Path, run_dir: Path
) -> None:
    """Faces are found and aligned anew in each copy, as in a source that holds both."""
    rows = pq.read_table(run_dir / "frames", columns=["path", "subject", "features_hog"])
    looks = np.stack(rows["features_hog"].to_numpy())
    first = cv2.imread(str(corpus / rows["path"][0].as_py()), cv2.IMREAD_GRAYSCALE)
    small = cv2.resize(first, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA)
    copies = [first[:, ::-1].copy(), small, first[12:-12, 16:-16].copy()]
    n = len(looks)
    pairs = near_duplicates(np.vstack([looks, *(hog_of(one)[None, 0] for one in copies)]))
    assert {tuple(pair) for pair in pairs.tolist()} >= {(0, n), (0, n + 1), (0, n + 2)}
    subjects = np.array(rows["subject"].to_pylist() + rows["subject"].to_pylist()[:1] * 3)
    assert (subjects[pairs[:, 0]] == subjects[pairs[:, 1]]).all()
    assert near_duplicates(np.zeros((0, 1764), np.float32)).shape == (0, 2)


def hog_of(image: np.ndarray) -> np.ndarray:
    settings = ExtractSettings()
    box = FaceFinder(settings.crop)(image).box_xywh
    assert box is not None
    face = cut(image, box)
    points = LandmarkLocator(settings.landmarks)(face)[1]
    assert points is not None
    return hog(points[None].astype(float), [face]).astype(np.float32)


def test_mirrored_vectors_are_those_of_the_mirrored_face(tiny_corpus: Path) -> None:
    image = cv2.imread(str(next(tiny_corpus.rglob("*.png"))), cv2.IMREAD_GRAYSCALE)
    face = cv2.resize(image, (128, 128))
    descriptor = cv2.HOGDescriptor((128, 128), (32, 32), (16, 16), (16, 16), 9)
    own, mirrored = (np.ravel(descriptor.compute(one)) for one in (face, face[:, ::-1].copy()))
    assert np.corrcoef(mirrored_hog(own[None])[0], mirrored)[0, 1] > 0.99
