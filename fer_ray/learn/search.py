"""Trials in parallel on Ray Tune: the only code that knows Tune."""

import logging
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ray import tune

from fer_ray.learn.svm import run_trial
from fer_ray.learn.trials import Experiment, Samples, TrialStore

Advance = Callable[[int], None]


class _SvmTrial(tune.Trainable):  # type: ignore[misc]
    """One trial of one experiment; its process is used again for the next."""

    def setup(
        self, config: dict[str, Any], samples: Samples, experiments: list[Experiment], out: Path
    ) -> None:
        self._samples, self._experiments, self._out = samples, experiments, out
        self.reset_config(config)

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        number, self._trial = new_config["task"]
        self._experiment = self._experiments[number]
        return True

    def step(self) -> dict[str, Any]:
        result = run_trial(
            self._experiment.kernel,
            self._experiment.settings,
            self._samples.features,
            self._samples.labels,
            self._experiment.splits[self._trial],
        )
        TrialStore(self._out, self._experiment).keep(self._trial, self._samples, result)
        return {"done": True, "test_accuracy": result.figures["test_accuracy"]}


class _Progress(tune.Callback):  # type: ignore[misc]
    def __init__(self, advance: Advance) -> None:
        self._advance = advance

    def on_trial_complete(self, **_: Any) -> None:
        self._advance(1)


def run_experiments(
    tasks: list[tuple[int, int]],
    experiments: list[Experiment],
    samples: Samples,
    out: Path,
    workers: int,
    advance: Advance,
) -> None:
    """Run trials and keep each in the run folder as it ends.

    Args:
        tasks: Number of the experiment and of its trial.
        experiments: What the first number counts.
        samples: What to train and test on.
        out: Run folder, the same on every node.
        workers: Trials at a time.
        advance: Told 1 each time that a trial is done.

    Raises:
        RuntimeError: A trial failed; the others are kept.
    """
    logging.getLogger("ray.tune").setLevel(logging.ERROR)
    trainable = tune.with_parameters(
        _SvmTrial, samples=samples, experiments=experiments, out=out.resolve()
    )
    with tempfile.TemporaryDirectory(prefix="fer-ray-tune-") as scratch:
        tuner = tune.Tuner(
            tune.with_resources(trainable, {"cpu": 1}),
            param_space={"task": tune.grid_search(tasks)},
            tune_config=tune.TuneConfig(reuse_actors=True, max_concurrent_trials=workers),
            run_config=tune.RunConfig(
                storage_path=scratch,
                verbose=0,
                callbacks=[_Progress(advance)],
                checkpoint_config=tune.CheckpointConfig(checkpoint_at_end=False),
            ),
        )
        results = tuner.fit()
    if results.errors:
        raise RuntimeError(f"{len(results.errors)} trials failed; the first: {results.errors[0]}")
