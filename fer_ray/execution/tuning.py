"""Comparison of configurations on Ray Tune, with early stopping (ASHA)."""

import math
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import optuna
from ray import tune
from ray.tune.schedulers import ASHAScheduler
from ray.tune.search.basic_variant import BasicVariantGenerator
from ray.tune.search.optuna import OptunaSearch

from fer_ray.execution.cluster.node_versions import require_same_versions_on_nodes
from fer_ray.execution.cluster.resources import ResourceWait, cpu_share
from fer_ray.execution.progress import Advance
from fer_ray.execution.tune_log import quiet_tune
from fer_ray.storage.paths import is_object

# What a runner reports: its lowest loss so far, its epochs, and the seconds that they took.
LOSS, TIME, COST = "loss", "epochs", "seconds"

LOSSES = 3  # retries of a configuration whose process or host is lost

Configuration = dict[str, Any]
WriteResult = Callable[[dict[str, Any]], None]


class Runner(Protocol):
    """One configuration in training."""

    def advance(self) -> dict[str, Any]:
        """Train a few more epochs and report `LOSS`, `TIME`, `COST` and `done`."""


@dataclass(frozen=True)
class Tuning:
    """The configurations to compare, and when to stop them.

    Attributes:
        start: Starts training a configuration, given the name of its log. Sent to each node once;
            its process trains many configurations.
        max_epochs: Maximum number of epochs of a configuration.
        grace_epochs: Epochs before a configuration may be stopped.
        reduction: Each rung of ASHA continues one configuration out of this number.
        workers: Configurations trained at a time.
    """

    start: Callable[[Configuration, str], Runner]
    max_epochs: int
    grace_epochs: int
    reduction: int
    workers: int


class _Trial(tune.Trainable):  # type: ignore[misc]
    """Trains a configuration a few epochs per step; its process is reused for the next one."""

    def setup(self, config: dict[str, Any], start: Callable[..., Runner]) -> None:
        self._start = start
        self.reset_config(config)

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        self._configuration = new_config
        self._runner: Runner | None = None
        return True

    def step(self) -> dict[str, Any]:
        if self._runner is None:
            self._runner = self._start(_configuration(self._configuration), self.trial_id)
        return self._runner.advance()


class _ResultWriter(tune.Callback):  # type: ignore[misc]
    """Stores the result of each configuration that finished or was stopped early.

    A loss that is not finite becomes None, since JSON has no NaN.
    """

    def __init__(self, write_result: WriteResult, advance: Advance) -> None:
        self._write_result, self._advance = write_result, advance
        self._wait = ResourceWait()

    def __getstate__(self) -> dict[str, Any]:
        """Return nothing: Tune pickles its callbacks, and a progress bar cannot be pickled."""
        return {}

    def on_step_begin(self, iteration: int, trials: Any, **_: Any) -> None:
        self._wait.check()

    def on_trial_complete(self, iteration: int, trials: Any, trial: Any, **_: Any) -> None:
        result = trial.last_result
        loss = result[LOSS] if math.isfinite(result[LOSS]) else None
        figures = {LOSS: loss, TIME: result[TIME], COST: result[COST]}
        self._write_result({"configuration": _configuration(trial.config), **figures})
        self._advance(1)


def _configuration(config: dict[str, Any]) -> Configuration:
    """The configuration within Tune's, which nests given ones."""
    return config.get("given", config)  # type: ignore[no-any-return]


def tune_sampled(
    tuning: Tuning, configurations: list[Configuration], out: Path, write_result: WriteResult,
    advance: Advance,
) -> None:  # fmt: skip
    """Compare given configurations."""
    space = {"given": tune.grid_search(configurations)}
    _run(tuning, BasicVariantGenerator(), space, 1, out, write_result, advance)


def tune_suggested(
    tuning: Tuning, space: dict[str, optuna.distributions.BaseDistribution], seed: int, count: int,
    known: list[dict[str, Any]], out: Path, write_result: WriteResult, advance: Advance,
) -> None:  # fmt: skip
    """Compare `count` configurations suggested by Optuna, which starts from the known results.

    The seed is advanced by the number of known results: with the same seed Optuna would repeat its
    first suggestions.
    """
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    finite = [result for result in known if result[LOSS] is not None]
    evaluated = {
        "points_to_evaluate": [result["configuration"] for result in finite],
        "evaluated_rewards": [result[LOSS] for result in finite],
    }
    seed += len(known)
    start = evaluated if finite else {}
    searcher = OptunaSearch(space, metric=LOSS, mode="min", seed=seed, **start)
    _run(tuning, searcher, None, count, out, write_result, advance)


def _run(
    tuning: Tuning, searcher: Any, space: dict[str, Any] | None, samples: int, out: Path,
    write_result: WriteResult, advance: Advance,
) -> None:  # fmt: skip
    """Run Tune until all configurations are finished or stopped.

    Raises:
        RuntimeError: A configuration failed. Results of the others are stored.
        UserError: The cluster has had no CPUs for too long, or a node has other versions. Earlier
            results are stored.
        KeyboardInterrupt: The job was interrupted. Earlier results are stored.
    """
    require_same_versions_on_nodes()
    quiet_tune()
    asha = ASHAScheduler(
        time_attr=TIME, max_t=tuning.max_epochs, grace_period=tuning.grace_epochs,
        reduction_factor=tuning.reduction,
    )  # fmt: skip
    local = None if is_object(out) else out
    with tempfile.TemporaryDirectory(prefix=".tune-", dir=local) as scratch:
        results = tune.Tuner(
            tune.with_resources(
                tune.with_parameters(_Trial, start=tuning.start), {"cpu": cpu_share()}
            ),
            param_space=space or {},
            tune_config=tune.TuneConfig(
                metric=LOSS, mode="min", num_samples=samples, search_alg=searcher, scheduler=asha,
                reuse_actors=True, max_concurrent_trials=tuning.workers,
            ),
            run_config=tune.RunConfig(
                storage_path=scratch,
                verbose=0,
                callbacks=[_ResultWriter(write_result, advance)],
                checkpoint_config=tune.CheckpointConfig(checkpoint_at_end=False),
                failure_config=tune.FailureConfig(max_failures=LOSSES),
            ),
        ).fit()  # fmt: skip
    if results.errors:
        raise RuntimeError(
            f"{len(results.errors)} configurations failed; the first: {results.errors[0]}"
        )
