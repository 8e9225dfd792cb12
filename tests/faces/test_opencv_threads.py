"""OpenCV's threads in processes of the user."""

import subprocess
import sys

import cv2

from fer_ray.faces.opencv_threads import one_opencv_thread


def test_threads_are_restored_after_overlapping_blocks() -> None:
    before = cv2.getNumThreads()
    try:
        cv2.setNumThreads(3)
        first, second = one_opencv_thread(), one_opencv_thread()
        first.__enter__()
        second.__enter__()
        first.__exit__(None, None, None)  # as in two threads of a program
        assert cv2.getNumThreads() == 1
        second.__exit__(None, None, None)
        assert cv2.getNumThreads() == 3
    finally:
        cv2.setNumThreads(before)


def test_imports_do_not_change_the_threads() -> None:
    code = (
        "import cv2; cv2.setNumThreads(3); "
        "import fer_ray.api.trained_model, fer_ray.execution.bottleneck_chain; "
        "print(cv2.getNumThreads())"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["3"]
