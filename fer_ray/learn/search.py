"""Pieces of work in parallel on Ray Tune: the only code that knows Tune."""

import logging
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ray import tune

from fer_ray.progress import Advance
from fer_ray.runtime import processor_share


class _Piece(tune.Trainable):  # type: ignore[misc]
    """One piece of work; its process is used again for the next."""

    def setup(self, config: dict[str, Any], work: Callable[[Any], None]) -> None:
        self._work = work
        self.reset_config(config)

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        self._piece = new_config["piece"]
        return True

    def step(self) -> dict[str, Any]:
        self._work(self._piece)
        return {"done": True}


class _Progress(tune.Callback):  # type: ignore[misc]
    def __init__(self, advance: Advance) -> None:
        self._advance = advance

    def __getstate__(self) -> dict[str, Any]:
        """Nothing: Tune keeps a copy of its settings on disk, and a progress bar has no copy."""
        return {}

    def on_trial_complete(self, **_: Any) -> None:
        self._advance(1)


def run_pieces(
    work: Callable[[Any], None],
    pieces: list[Any],
    out: Path,
    workers: int | None,
    advance: Advance,
) -> None:
    """Do each piece once, wherever there is a processor; what comes of it is kept by `work` itself.

    Args:
        work: Called with a piece, in a process that does many. It is sent to each node once.
        pieces: Plain values.
        out: Run folder, the same on every node.
        workers: Pieces at a time. None: as many as there are processors for, also as they grow.
        advance: Told 1 each time that a piece is done.

    Raises:
        RuntimeError: A piece failed; what the others kept stays.
        KeyboardInterrupt: The job was interrupted; what was finished stays.
    """
    logging.getLogger("ray.tune").setLevel(logging.ERROR)
    # Tune wants a folder that all nodes see, though nothing is kept there.
    with tempfile.TemporaryDirectory(prefix=".tune-", dir=out.resolve()) as scratch:
        tuner = tune.Tuner(
            tune.with_resources(
                tune.with_parameters(_Piece, work=work), {"cpu": processor_share()}
            ),
            param_space={"piece": tune.grid_search(pieces)},
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
    finished = sum(1 for result in results if (result.metrics or {}).get("done"))
    if finished < len(pieces):  # Tune takes an interrupt for an end
        raise KeyboardInterrupt
