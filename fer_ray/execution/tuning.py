"""Configurations raced on Ray Tune: drawn by a searcher, stopped early where they fall behind."""

import logging
import math
import os
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

from fer_ray.execution.progress import Advance
from fer_ray.execution.resources import Patience, processor_share

# What a runner reports: its least loss so far, how far it is, and the seconds that this took.
LOSS, TIME, COST = "loss", "epochs", "seconds"


class Runner(Protocol):
    """One configuration under way."""

    def advance(self) -> dict[str, Any]:
        """Do some more: `LOSS`, `TIME`, `COST` and `done`."""


@dataclass(frozen=True)
class Race:
    """What is raced.

    Attributes:
        begin: Starts a configuration, in a process that does many; sent to each node once.
        most_epochs: Of any configuration.
        grace_epochs: Before the first may be stopped.
        reduction: One in so many goes on beyond each rung of ASHA.
        workers: Configurations at a time.
    """

    begin: Callable[[dict[str, Any], str], Runner]
    most_epochs: int
    grace_epochs: int
    reduction: int
    workers: int


class _Trial(tune.Trainable):  # type: ignore[misc]
    """Runs a configuration some epochs a step; its process is used again for the next one."""

    def setup(self, config: dict[str, Any], begin: Callable[..., Runner]) -> None:
        self._begin = begin
        self.reset_config(config)

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        self._configuration = new_config
        self._runner: Runner | None = None
        return True

    def step(self) -> dict[str, Any]:
        if self._runner is None:
            given = self._configuration
            self._runner = self._begin(given.get("drawn", given), self.trial_id)
        return self._runner.advance()


class _Kept(tune.Callback):  # type: ignore[misc]
    """Hands on each configuration that has ended, by itself or stopped early.

    A loss that is not finite is handed on as None: JSON knows no other.
    """

    def __init__(self, keep: Callable[[dict[str, Any]], None], advance: Advance) -> None:
        self._keep, self._advance = keep, advance
        self._patience = Patience()

    def __getstate__(self) -> dict[str, Any]:
        """Nothing: Tune keeps a copy of its settings on disk, and a progress bar has no copy."""
        return {}

    def on_step_begin(self, iteration: int, trials: Any, **_: Any) -> None:
        self._patience.check()

    def on_trial_complete(self, iteration: int, trials: Any, trial: Any, **_: Any) -> None:
        result = trial.last_result
        configuration = trial.config.get("drawn", trial.config)
        loss = result[LOSS] if math.isfinite(result[LOSS]) else None
        told = {LOSS: loss, TIME: result[TIME], COST: result[COST]}
        self._keep({"configuration": configuration, **told})
        self._advance(1)


def race_drawn(
    race: Race, drawn: list[dict[str, Any]], out: Path,
    keep: Callable[[dict[str, Any]], None], advance: Advance,
) -> None:  # fmt: skip
    """Race given configurations."""
    searched = tune.grid_search(drawn)
    _run(race, BasicVariantGenerator(), {"drawn": searched}, 1, out, keep, advance)


def race_suggested(
    race: Race, space: dict[str, optuna.distributions.BaseDistribution], seed: int, left: int,
    known: list[dict[str, Any]], out: Path,
    keep: Callable[[dict[str, Any]], None], advance: Advance,
) -> None:  # fmt: skip
    """Race `left` more configurations that Optuna suggests, told of those known already.

    With the same seed it would suggest again what it did at first: the seed moves on by their
    number.
    """
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    finite = [one for one in known if one[LOSS] is not None]
    told = {
        "points_to_evaluate": [one["configuration"] for one in finite],
        "evaluated_rewards": [one[LOSS] for one in finite],
    }
    seed += len(known)
    searcher = OptunaSearch(space, metric=LOSS, mode="min", seed=seed, **(told if finite else {}))
    _run(race, searcher, None, left, out, keep, advance)


def _run(
    race: Race, searcher: Any, space: dict[str, Any] | None, samples: int, out: Path,
    keep: Callable[[dict[str, Any]], None], advance: Advance,
) -> None:  # fmt: skip
    """Run a race to its end.

    Raises:
        RuntimeError: A configuration failed; what the others kept stays.
        UserError: The cluster has had no processors for too long; likewise.
        KeyboardInterrupt: The job was interrupted; likewise.
    """
    logging.getLogger("ray.tune").setLevel(logging.ERROR)
    os.environ["TUNE_DISABLE_SIGINT_HANDLER"] = "1"  # it would take an interrupt for an end
    asha = ASHAScheduler(
        time_attr=TIME, max_t=race.most_epochs, grace_period=race.grace_epochs,
        reduction_factor=race.reduction,
    )  # fmt: skip
    with tempfile.TemporaryDirectory(prefix=".tune-", dir=out.resolve()) as scratch:
        results = tune.Tuner(
            tune.with_resources(
                tune.with_parameters(_Trial, begin=race.begin), {"cpu": processor_share()}
            ),
            param_space=space or {},
            tune_config=tune.TuneConfig(
                metric=LOSS, mode="min", num_samples=samples, search_alg=searcher, scheduler=asha,
                reuse_actors=True, max_concurrent_trials=race.workers,
            ),
            run_config=tune.RunConfig(
                storage_path=scratch,
                verbose=0,
                callbacks=[_Kept(keep, advance)],
                checkpoint_config=tune.CheckpointConfig(checkpoint_at_end=False),
            ),
        ).fit()  # fmt: skip
    if results.errors:
        raise RuntimeError(f"{len(results.errors)} failed; the first: {results.errors[0]}")
