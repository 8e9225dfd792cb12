"""A program that uses the API keeps its environment variables and the settings of its libraries."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.patience import patience

PROGRAM = """
import logging, os
import keras, ray.data, sklearn.svm, skops.io  # they set variables of their own
import fer_ray as fr
from fer_ray.networks.keras_backend import keras_defaults, load_keras

def state():
    data = ray.data.DataContext.get_current()
    levels = [logging.getLogger(name).level for name in ("ray", "ray.data", "ray.tune")]
    return dict(os.environ), data.enable_progress_bars, levels, keras.config.dtype_policy().name

def predict(**settings):
    fr.predict("models/photos", "face.png", "rows", settings=settings, fresh=True, progress=False)

keras.config.set_dtype_policy("mixed_bfloat16")
fr.load_model("models/photos").predict("face.png")  # libraries set theirs when they first compute
before = state()
predict()
assert state() == before, "in-process"
predict(**{"execution.executor": "ray", "execution.workers": 1})
assert state() == before, "Ray"
load_keras(threads=1)
with keras_defaults():
    layer = keras.layers.Dense(2)
    layer(keras.ops.ones((1, 3)))
assert layer.dtype_policy.name == "float32"
now = state()
changed = {name for name, value in now[0].items() if before[0].get(name) != value}
assert now == before, changed
"""


@pytest.mark.slow
@pytest.mark.thorough
def test_jobs_and_networks_keep_the_state_of_a_program(workplace: Path) -> None:
    variables = {"RAY_DEDUP_LOGS": "1", "OMP_NUM_THREADS": "3", "OPENCV_LOG_LEVEL": "E"}
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM], cwd=workplace, env={**os.environ, **variables},
        capture_output=True, text=True, timeout=patience(240), check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
