"""Search of heads, on synthetic features and a real local Ray."""

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from fer_ray.execution.progress import silent
from fer_ray.networks.heads.head_selection import HeadSelection, TrialSearch, plan_head_search
from fer_ray.networks.heads.head_space import (
    head_settings,
    optuna_distributions,
    sample_configuration,
    search_space,
)
from fer_ray.networks.keras_backend import load_keras
from fer_ray.pipelines.training.experiments import prepare_trials
from fer_ray.pipelines.training.search_heads import run_head_search
from fer_ray.settings.loading import load_settings
from fer_ray.settings.networks import HeadSearchSettings
from fer_ray.settings.root import Settings
from tests.conftest import FerRay
from tests.patience import patience

SMALL = (
    "head_search.configurations=6", "head_search.max_epochs=12", "head_search.grace_epochs=5",
    "head_search.finalists=2", "head_search.repeats=2", "execution.workers=1",
)  # fmt: skip


def settings(*more: str) -> Settings:
    return load_settings(None, (*SMALL, *more))


def test_sampled_configurations_are_valid() -> None:
    wanted = HeadSearchSettings(max_epochs=40)
    drawn = [sample_configuration(wanted, 3, number) for number in range(60)]
    assert drawn[:5] == [sample_configuration(wanted, 3, number) for number in range(5)]
    for one in drawn:
        head = head_settings(one)
        assert 1e-4 <= head.learning_rate <= 3e-2
        assert head.epochs in (10, 20, 40)
    assert len({head_settings(one).optimizer for one in drawn}) == 3
    assert optuna_distributions(wanted).keys() == search_space(wanted).keys() == drawn[0].keys()


@pytest.mark.slow
@pytest.mark.thorough
def test_interrupted_search_resumes(drawn_frames: Path, local_ray: int) -> None:
    shorter_than_its_grace, folds = "head_search.max_epochs=4", two_folds(drawn_frames)
    wanted = settings("trials.protocol=subject-10fold", "head_search.searcher=random",
                      "head_search.configurations=2", shorter_than_its_grace,
                      f"trials.folds={folds}")  # fmt: skip
    ready = prepare_trials(drawn_frames, wanted.trials, "geometry")
    experiment = plan_head_search(
        wanted.head_search, "geometry", wanted.trials, ready.folds, ready.frames_key
    )
    for trial, finished in ((1, 2), (0, 1)):  # as after a stop
        search = TrialSearch(experiment, trial, ready.samples, None, drawn_frames.resolve())
        drawn = [
            sample_configuration(wanted.head_search, search.seed(0), number) for number in range(2)
        ]
        for one in drawn[:finished]:
            search.write_result({"configuration": one, "loss": 9.0, "epochs": 5})
    card = run_head_search(drawn_frames, "geometry", wanted, silent)
    assert card["configurations_raced"] == 1
    name = card["experiment"]
    searched = json.loads((drawn_frames / "heads" / f"{name}.search.json").read_text())["trials"]
    assert [one["configuration"] for one in searched["0"][:1]] == drawn[:1]
    assert sorted(map(str, (one["configuration"] for one in searched["0"]))) == sorted(
        map(str, drawn)
    )
    predictions = pq.read_table(drawn_frames / "predictions" / f"{name}.parquet")
    assert predictions.num_rows == sum(len(split.test) for split in ready.folds.splits)
    again = run_head_search(drawn_frames, "geometry", wanted, silent)
    assert again == {**card, "already_finished": True}


def two_folds(out: Path) -> Path:
    """Two folds of subjects, as a file."""
    rows = pq.read_table(out / "frames", columns=["image_id", "subject"]).to_pylist()
    lines = ["image_id,trial,part"]
    for trial in (0, 1):
        for row in rows:
            tested = int(row["subject"][1:]) % 2 == trial
            lines.append(f"{row['image_id']},{trial},{'test' if tested else 'train'}")
    file = out / "folds.csv"
    file.write_text("\n".join(lines) + "\n")
    return file


@pytest.mark.slow
@pytest.mark.thorough
def test_interrupted_optuna_search_resumes(drawn_frames: Path, fer_ray: FerRay) -> None:
    few = [part for one in (*SMALL, "head_search.configurations=8") for part in ("--set", one)]
    where = ["--out", drawn_frames, "--backbone", "geometry+landmarks"]
    command = ["search-heads", *where, "--trials", 1, "--json", *few]
    known = interrupted_after(1, command, drawn_frames)
    assert 1 <= len(known) < 8
    done = fer_ray(*command)
    assert done.returncode == 0, done.stderr
    card = json.loads(done.stdout)
    searched = drawn_frames / "heads" / f"{card['experiment']}.search.json"
    raced = json.loads(searched.read_text())["trials"]["0"]
    assert raced[: len(known)] == known
    assert len({json.dumps(one["configuration"]) for one in raced}) == len(raced) == 8
    assert card["configurations_raced"] == 8 - len(known)
    trial = pq.read_table(drawn_frames / "trials" / f"{card['experiment']}.parquet")
    assert trial["seconds"][0].as_py() > sum(one["seconds"] for one in raced) > 0
    tried = [one["configuration"] for one in card["finalists"]]
    assert tried[0] != tried[1]
    assert card["input_width"] == 44 + 136
    means = [np.mean(one["validation_losses"]) for one in card["finalists"]]
    assert card["finalists"][int(np.argmin(means))]["configuration"] == card["head"]
    assert card["chosen"]["validation_loss"] == pytest.approx(
        min(card["finalists"][int(np.argmin(means))]["validation_losses"])
    )
    heads = drawn_frames / "heads"
    loaded = load_keras().models.load_model(heads / f"{card['experiment']}.keras")
    assert loaded.input_shape == (None, 180)
    logs = list((heads / f"{card['experiment']}.tensorboard").rglob("events*"))
    assert len(logs) >= 8
    assert not list(drawn_frames.glob(".tune-*"))


def interrupted_after(
    configurations: int, command: list[object], out: Path
) -> list[dict[str, object]]:
    """Results of a search that is interrupted after this number of them."""
    words = [sys.executable, "-m", "fer_ray", *map(str, command)]
    search = subprocess.Popen(
        words, stdout=subprocess.DEVNULL, start_new_session=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # a shell's `&` ignores it
    )  # fmt: skip
    end, kept = time.monotonic() + patience(200), list[dict[str, object]]()
    while len(kept) < configurations and search.poll() is None and time.monotonic() < end:
        time.sleep(0.1)
        for file in out.glob("trials.partial/*/search-*.json"):
            kept = json.loads(file.read_text())["configurations"]
    search.send_signal(signal.SIGINT)
    assert search.wait(timeout=patience(100)) == 130
    (file,) = out.glob("trials.partial/*/search-*.json")
    return list(json.loads(file.read_text())["configurations"])


def test_repeated_and_infinite_results(drawn_frames: Path) -> None:
    wanted = settings("trials.n_trials=1", "head_search.repeats=1")
    ready = prepare_trials(drawn_frames, wanted.trials, "geometry")
    experiment = plan_head_search(
        wanted.head_search, "geometry", wanted.trials, ready.folds, ready.frames_key
    )
    search = TrialSearch(experiment, 0, ready.samples, None, drawn_frames)
    for loss, epochs in ((None, 3), (1.0, 2), (1.0, 2), (1.5, 1)):
        search.write_result({"configuration": {"epochs": epochs}, "loss": loss, "seconds": 100.0})
    assert [one["loss"] for one in search.results()] == [None, 1.0, 1.5]
    selection = HeadSelection(experiment, ready.samples, None, drawn_frames)
    selection(0)
    partial = drawn_frames / "trials.partial" / experiment.fingerprint[:16]
    kept = json.loads((partial / "000000.json").read_text())["details"]["finalists"]
    assert [one["configuration"]["epochs"] for one in kept] == [2, 1]
    figures = pq.read_schema(partial / "000000.parquet").metadata[b"trial"]
    assert (
        300 < json.loads(figures)["seconds"] < 400
    )  # comparing configurations is part of the cost


def test_missing_trials(drawn_frames: Path) -> None:
    wanted = settings("trials.n_trials=2")
    ready = prepare_trials(drawn_frames, wanted.trials, "geometry")
    experiment = plan_head_search(
        wanted.head_search, "geometry", wanted.trials, ready.folds, ready.frames_key
    )
    selection = HeadSelection(experiment, ready.samples, None, drawn_frames)
    configuration = {"epochs": 2}
    TrialSearch(experiment, 1, ready.samples, None, drawn_frames).write_result(
        {"configuration": configuration, "loss": 1.0, "epochs": 2}
    )
    assert selection.missing() == [0, 1]
    selection(1)
    assert selection.missing() == [0]
