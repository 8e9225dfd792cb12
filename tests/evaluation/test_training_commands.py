from pathlib import Path

import pytest

from tests.conftest import FerRay

MISTAKES = {
    "splits that leak": (("trials", "--strict"), "of 160 test images show a subject"),
    "a search whose splits leak": (("search", "--strict", "--feature-sets", "geometry"), "refused"),
    "a search on what was not extracted": (
        ("search", "--feature-sets", "hog"),
        "lacks the feature",
    ),
    "a search on no such set": (("search", "--feature-sets", "nose"), "search.feature_sets"),
    "no such classifier": (("search", "--classifiers", "oracle"), "search.classifiers"),
    "folds that are not there": (("trials", "--folds", "none.csv"), "none.csv cannot be read"),
    "no such experiment": (("compare", "one", "other"), "There is no experiment one"),
    "no image of a class": (("trials", "--classes", "9"), "'9' is not one of"),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", MISTAKES)
def test_a_mistake_ends_with_one_message_before_anything_is_run(
    name: str, drawn_frames: Path, fer_ray: FerRay
) -> None:
    (command, *options), said = MISTAKES[name]
    done = fer_ray(command, "--out", drawn_frames, *options)
    assert (done.returncode, "Traceback" in done.stderr) == (2, False), done.stderr
    assert said in done.stderr
    assert not (drawn_frames / "trials").exists()
    assert not (drawn_frames / "search").exists()
