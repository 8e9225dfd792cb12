import hashlib
import json
import re
import subprocess
import sys
from collections import Counter
from pathlib import Path

import cv2
import numpy as np
import pytest

from fer_ray import __version__
from fer_ray.faces.crops import FaceFinder, crop_face
from fer_ray.faces.loaded_models import load_locator
from fer_ray.settings.extraction import Crop, Landmarks
from fer_ray.sources.emotion_words import parse_code
from fer_ray.synthetic import corpus
from fer_ray.synthetic.corpus import CorpusExistsError, count_frames, generate_corpus
from fer_ray.synthetic.drawing.canvas import Canvas, Pose
from fer_ray.synthetic.drawing.render import Frame, render
from fer_ray.synthetic.sequences import plan_corpus, render_sequence
from fer_ray.synthetic.shapes.action_units import PROTOTYPES, Expression, sample_expression
from fer_ray.synthetic.shapes.face_outline import FaceShape, shape_face
from fer_ray.synthetic.shapes.subject import STYLES, sample_subject
from fer_ray.vocabulary import EMOTIONS, SYNTHETIC_MARKER, Status

SUBJECTS, SEED = 2, 5
PEAKS = [name for name in EMOTIONS if name != "neutral"]


@pytest.fixture(scope="module")
def generated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("generated") / "corpus"
    generate_corpus(out, SUBJECTS, SEED, workers=1)
    return out


@pytest.fixture(scope="module")
def peaks() -> list[Frame]:
    """One peak per emotion, each of a different subject."""
    return [peak(emotion, number) for number, emotion in enumerate(PEAKS)]


def peak(emotion: str, number: int) -> Frame:
    subject, rng = sample_subject((SEED, number)), np.random.default_rng(number)
    return render(subject, sample_expression(PROTOTYPES[emotion], 1.0, rng), rng)


def digests(root: Path) -> dict[str, str]:
    return {
        path.relative_to(root).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in root.rglob("*")
        if path.is_file()
    }


def face(**units: float) -> FaceShape:
    """The face of subject 0 with action units at given intensities, such as au12=1."""
    both = {int(name.removeprefix("au")): value for name, value in units.items()}
    return shape_face(sample_subject((SEED, 0)), Expression(both))


def test_bytes_do_not_depend_on_workers(generated: Path, tmp_path: Path) -> None:
    generate_corpus(tmp_path / "second", SUBJECTS, SEED, workers=2)
    assert digests(tmp_path / "second") == digests(generated)


def test_subjects_depend_on_the_seed() -> None:
    assert sample_subject((1, 0)) != sample_subject((2, 0))
    assert sample_subject((1, 0)) != sample_subject((1, 1))
    assert sample_subject((1, 0)) == sample_subject((1, 0))


def test_file_names_follow_the_ckplus_layout(generated: Path) -> None:
    images = [path.relative_to(generated).as_posix() for path in generated.rglob("*.png")]
    labels = [path.relative_to(generated).as_posix() for path in generated.rglob("*.txt")]
    image_name = re.compile(r"cohn-kanade-images/(S\d{3})/(\d{3})/\1_\2_\d{8}\.png")
    label_name = re.compile(r"Emotion/(S\d{3})/(\d{3})/\1_\2_\d{8}_emotion\.txt")
    assert images
    assert all(image_name.fullmatch(name) for name in images)
    assert labels
    assert all(label_name.fullmatch(name) for name in labels)


def test_label_files_follow_the_ckplus_layout(generated: Path) -> None:
    for label in generated.rglob("*_emotion.txt"):
        text = label.read_bytes().decode()
        assert re.fullmatch(r"   [1-7]\.0000000e\+00\n", text)
        assert parse_code(text.strip()) in range(1, 8)
        frames = generated / corpus.IMAGES / label.parent.relative_to(generated / corpus.LABELS)
        assert sorted(frames.glob("*.png"))[-1].stem + "_emotion" == label.stem


def test_frame_numbers_have_no_gaps(generated: Path) -> None:
    for session in (generated / corpus.IMAGES).glob("S*/*/"):
        numbers = sorted(int(path.stem[-8:]) for path in session.glob("*.png"))
        assert numbers == list(range(1, len(numbers) + 1))
        assert len(numbers) >= 3


def test_marker_counts(generated: Path) -> None:
    marker = json.loads((generated / SYNTHETIC_MARKER).read_text())
    assert marker == {
        "synthetic": True,
        "generator": "fer_ray",
        "version": __version__,
        "seed": SEED,
        "subjects": len(list((generated / corpus.IMAGES).glob("S*"))),
        "sequences": len(list((generated / corpus.IMAGES).glob("S*/[0-9]*"))),
        "labelled_sequences": len(list(generated.rglob("*_emotion.txt"))),
        "frames": len(list(generated.rglob("*.png"))),
    }
    assert marker["frames"] == count_frames(SUBJECTS, SEED)


def test_junk_files_among_the_images(generated: Path) -> None:
    assert len(list((generated / corpus.IMAGES).rglob(".DS_Store"))) == 3


def test_frame_format_of_subjects(tmp_path: Path) -> None:
    plans = plan_corpus(60, 2010)
    for short in (False, True):
        for colour in (False, True):
            plan = next(p for p in plans if (p.short, p.colour) == (short, colour))
            frame = next(render_sequence(plan, plan.sequences[0]))
            file = tmp_path / "frame.png"
            file.write_bytes(corpus._png(frame.image))
            image = cv2.imread(str(file), cv2.IMREAD_UNCHANGED)
            assert image is not None
            assert image.shape == (480 if short else 490, 640, *([3] if colour else []))
            np.testing.assert_array_equal(image, frame.image)


@pytest.mark.parametrize("subjects", [1, 3, 60, 118])
def test_emotions_are_spread_over_subjects(subjects: int) -> None:
    plans = plan_corpus(subjects, 2010)
    assert len({plan.number for plan in plans}) == subjects
    assert all(any(sequence.emotion for sequence in plan.sequences) for plan in plans)
    counts = Counter(s.emotion for plan in plans for s in plan.sequences if s.emotion)
    assert set(counts) == set(PEAKS)
    assert min(counts.values()) >= min(10, subjects)


def test_118_subjects_have_ckplus_proportions() -> None:
    counts = Counter(s.emotion for plan in plan_corpus(118, 1) for s in plan.sequences)
    assert [counts[emotion] for emotion in PEAKS] == [45, 18, 59, 25, 69, 28, 83]


def test_default_corpus_has_ckplus_irregularities() -> None:
    plans = plan_corpus(60, 2010)
    unlabelled = [s for plan in plans for s in plan.sequences if s.emotion is None]
    assert {sequence.label_folder for sequence in unlabelled} == {False, True}
    numbers = [plan.number for plan in plans]
    assert numbers == sorted(numbers)
    assert numbers[-1] - numbers[0] > len(numbers)
    contemptuous = [p.number for p in plans if "contempt" in {s.emotion for s in p.sequences}]
    assert min(contemptuous) >= 138


def test_same_corpus_is_reused(generated: Path) -> None:
    before = {path: path.stat().st_mtime_ns for path in generated.rglob("*")}
    reported: list[int] = []
    summary = generate_corpus(generated, SUBJECTS, SEED, on_frame=reported.append)
    assert summary.frames == count_frames(SUBJECTS, SEED)
    assert reported == []
    assert {path: path.stat().st_mtime_ns for path in generated.rglob("*")} == before


@pytest.mark.parametrize(("subjects", "seed"), [(SUBJECTS, SEED + 1), (SUBJECTS + 1, SEED)])
def test_other_corpus_is_not_replaced(generated: Path, subjects: int, seed: int) -> None:
    with pytest.raises(CorpusExistsError, match="another synthetic corpus"):
        generate_corpus(generated, subjects, seed)


def test_other_folder_is_rejected(tmp_path: Path) -> None:
    (tmp_path / "holiday.png").write_bytes(b"mine")
    with pytest.raises(CorpusExistsError, match="not a synthetic corpus"):
        generate_corpus(tmp_path, 1, 1)
    assert [path.name for path in tmp_path.iterdir()] == ["holiday.png"]


def test_progress_in_an_empty_folder(tmp_path: Path) -> None:
    out = tmp_path / "empty"
    out.mkdir()
    reported: list[int] = []
    summary = generate_corpus(out, 1, 3, workers=1, on_frame=reported.append)
    assert sum(reported) == summary.frames == len(list(out.rglob("*.png")))
    assert [path.name for path in tmp_path.iterdir()] == ["empty"]


def test_failed_generation_leaves_no_files(tmp_path: Path) -> None:
    def stop(_: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        generate_corpus(tmp_path / "out", 1, 3, workers=1, on_frame=stop)
    assert list(tmp_path.iterdir()) == []


def test_corpus_without_subjects_is_rejected() -> None:
    with pytest.raises(ValueError, match="at least one subject"):
        plan_corpus(0, 1)


def test_prototypes_are_in_code_order() -> None:
    assert tuple(PROTOTYPES) == EMOTIONS


def test_imports_are_light() -> None:
    heavy = ("ray", "dlib", "pandas", "sklearn", "pyarrow", "matplotlib")
    code = (
        "import sys, fer_ray.synthetic.corpus\n"
        f"sys.exit(str([name for name in {heavy!r} if name in sys.modules] or ''))"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert result.stderr.strip() == ""


def test_cascades_find_one_face_per_peak(peaks: list[Frame]) -> None:
    finder = FaceFinder(Crop())
    assert [finder(frame.image).status for frame in peaks] == [Status.OK] * len(peaks)


def test_dlib_finds_the_exact_landmarks(peaks: list[Frame]) -> None:
    finder, locator = FaceFinder(Crop()), load_locator(Landmarks())
    errors = []
    for frame in peaks:
        box = finder(frame.image).box_xywh
        assert box is not None
        faces, points = locator(crop_face(frame.image, box))
        assert faces == 1
        assert points is not None
        found = points * box[2:] / 350 + box[:2]
        outer_eye_corners = np.linalg.norm(frame.landmarks_xy[45] - frame.landmarks_xy[36])
        errors.append(np.linalg.norm(found - frame.landmarks_xy, axis=1) / outer_eye_corners)
    mean = np.mean(errors, axis=0)
    assert mean.mean() < 0.045
    assert mean[48:].mean() < 0.025
    assert mean[36:48].mean() < 0.035


@pytest.mark.parametrize("style", STYLES)
def test_face_is_found_with_every_hair_style(style: str) -> None:
    seeds = ((SEED, number) for number in range(200))
    subject = next(s for s in map(sample_subject, seeds) if s.hair.style == style)
    frame = render(subject, Expression(), np.random.default_rng(1))
    assert FaceFinder(Crop())(frame.image).status is Status.OK


def test_intensity_grows_along_a_sequence() -> None:
    plan = next(
        p for p in plan_corpus(60, 2010) if any(s.emotion == "surprise" for s in p.sequences)
    )
    sequence = next(s for s in plan.sequences if s.emotion == "surprise")
    openings = [
        float(landmarks[66, 1] - landmarks[62, 1])
        for _, landmarks in render_sequence(plan, sequence)
    ]
    assert openings == sorted(openings)
    assert openings[0] < 2 < 15 < openings[-1]


def test_action_units_move_their_features() -> None:
    rest, smile, frown, surprise = face(), face(au12=1), face(au4=1), face(au1=1, au2=1, au27=1)
    assert smile.mouth.corners[1][0] > rest.mouth.corners[1][0] + 4
    assert smile.mouth.corners[1][1] < rest.mouth.corners[1][1] - 5
    assert frown.brows[1][4, 1] > rest.brows[1][4, 1] + 4
    assert surprise.brows[1][:, 1].max() < rest.brows[1][:, 1].max() - 6
    assert surprise.mouth.opening > 18
    assert surprise.chin_y > rest.chin_y + 18
    assert face(au5=1).eyes[1].upper.min() < rest.eyes[1].upper.min() - 2


def test_contempt_is_one_sided() -> None:
    subject = sample_subject((SEED, 0))
    rest = shape_face(subject, Expression())
    sneer = shape_face(subject, Expression(one_sided={14: 1.0}, side=-1))
    assert sneer.mouth.corners[1] == rest.mouth.corners[1]
    assert sneer.mouth.corners[-1][0] < rest.mouth.corners[-1][0] - 3


def test_scaled_expression() -> None:
    full = Expression({12: 0.8}, {14: 0.5}, side=-1, asymmetry=0.1)
    assert full.scaled(0.0).on(-1, 14) == full.scaled(0.0)[12] == 0
    assert full.scaled(0.5).smile(-1) == pytest.approx(0.36)


def test_canvas_coordinates() -> None:
    canvas = Canvas(Pose(scale_px=2.0, centre_px=(100.0, 50.0), roll_deg=90.0))
    np.testing.assert_allclose(canvas.to_px([(0, 0), (10, 0)]), [(100, 50), (100, 70)], atol=1e-9)
    assert canvas.x[70, 100] == pytest.approx(10, abs=1e-4)


@pytest.mark.parametrize("corner", [(-500.0, 0.0), (500.0, 500.0), (0.0, -900.0)])
def test_shapes_outside_the_image_are_clipped(corner: tuple[float, float]) -> None:
    canvas = Canvas(Pose(1.6, (320.0, 210.0), 0.0))
    square = np.array([(0, 0), (20, 0), (20, 20), (0, 20)]) + corner
    for mask in (canvas.polygon(square, 1.0), canvas.blob(corner, (5, 5))):
        assert canvas.x[mask.window].shape == mask.cover.shape
        assert mask.cover.max() < 0.01
