from pathlib import Path

import pytest

from tests.conftest import FerRay

USER_ERRORS = {
    "splits that leak": (("trials", "--strict"), "of 160 test images show a subject"),
    "a search whose splits leak": (
        ("search", "--strict", "--feature-sets", "geometry"),
        "rejects these splits",
    ),
    "a search on features that were not extracted": (
        ("search", "--feature-sets", "hog"),
        "does not contain the feature set",
    ),
    "a search on an unknown set": (("search", "--feature-sets", "nose"), "nose is not a feature"),
    "an unknown classifier": (("search", "--classifiers", "oracle"), "search.classifiers"),
    "a missing folds file": (
        ("trials", "--folds", "none.csv"),
        "none.csv: No such file",
    ),
    "an unknown experiment": (("compare", "one", "other"), "has no experiment one"),
    "an unknown variant": (("trials", "--classes", "9"), "'9' is not one of"),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", USER_ERRORS)
def test_user_errors_before_anything_runs(name: str, drawn_frames: Path, fer_ray: FerRay) -> None:
    (command, *options), message = USER_ERRORS[name]
    done = fer_ray(command, "--out", drawn_frames, *options)
    assert (done.returncode, "Traceback" in done.stderr) == (2, False), done.stderr
    assert message in done.stderr
    assert not (drawn_frames / "trials").exists()
    assert not (drawn_frames / "search").exists()
