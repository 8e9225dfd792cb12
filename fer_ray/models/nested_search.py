"""A nested search as pieces of work: planned, kept as they end, answered fold by fold. No Ray."""

import json
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from threadpoolctl import threadpool_limits

from fer_ray.evaluation.experiment import Experiment, differences, file_name, splitting_settings
from fer_ray.evaluation.folds import Folds
from fer_ray.evaluation.samples import Samples
from fer_ray.evaluation.splits import inner_folds
from fer_ray.evaluation.trial_store import TrialStore
from fer_ray.models.candidates import Configuration, draw_configurations
from fer_ray.models.nested import Candidate, answer, best_members, examine
from fer_ray.schemas import SEARCH_SCHEMA
from fer_ray.settings.base import fingerprint
from fer_ray.settings.training import SearchSettings, TrialSettings
from fer_ray.storage.files import remove
from fer_ray.storage.parquet import read_table, write_table
from fer_ray.storage.run_folder import RunFolder
from fer_ray.vocabulary import EMOTIONS

Piece = tuple[int, str]  # a trial and a feature set


@dataclass(frozen=True)
class SearchExperiment(Experiment):
    """An experiment whose classifier is chosen anew, inside the training part of each trial."""

    settings: SearchSettings
    configurations: list[Configuration]


def plan_search(
    settings: SearchSettings, trials: TrialSettings, folds: Folds, frames_key: str
) -> SearchExperiment:
    """The experiment that a search is.

    Args:
        settings: What to search.
        trials: Classes and seed.
        folds: The splits of their protocol.
        frames_key: Names the frames that the samples come from.
    """
    shown = {"classes", *splitting_settings(folds, seeded=True)}
    splitting = trials.model_dump(mode="json", include=shown)
    content = {
        "search": settings.model_dump(mode="json"),
        "splitting": {**splitting, "protocol": folds.protocol},
        "frames": frames_key,
    }
    split, key = differences(trials, shown), fingerprint(content)
    return SearchExperiment(
        name=file_name(["search", folds.protocol, *split, *_differences(settings)], key),
        fingerprint=key,
        classifier="search",
        feature_set="chosen",
        protocol=folds.protocol,
        seed=trials.seed,
        splits=folds.splits,
        leakage=folds.leakage,
        recipe={"search": settings.model_dump(mode="json"), "classes": trials.classes},
        settings=settings,
        configurations=draw_configurations(settings, trials.seed),
    )


def _differences(settings: SearchSettings) -> list[str]:
    reference, found = SearchSettings(), []
    for field in SearchSettings.model_fields:
        value = getattr(settings, field)
        if value != getattr(reference, field):
            text = ",".join(value) if isinstance(value, tuple) else str(value)
            found.append(f"{field}={text}")
    return found


@dataclass(frozen=True)
class Search:
    """All that a worker needs to do a piece of a search; called with one, it does it.

    A piece is what the configurations of one feature set do in one trial: its features are prepared
    once for all of them. Whoever ends the last piece of a trial answers for it. Everything is kept
    in files that are written whole, so a piece done twice does no harm.

    Attributes:
        experiment: What is searched.
        by_set: The samples with each feature set, of the same images.
        out: Run folder, the same on every node.
    """

    experiment: SearchExperiment
    by_set: dict[str, Samples]
    out: Path

    def missing(self) -> list[Piece]:
        """Pieces that are left to do, trial by trial."""
        left = []
        for trial in TrialStore(self.out, self.experiment).missing():
            undone = [name for name in self._sets() if not self._piece((trial, name)).is_file()]
            left += [(trial, name) for name in undone or self._sets()[-1:]]
        return left

    def __call__(self, piece: Piece) -> None:
        """Do one piece; with the last one of a trial, answer for the trial."""
        with threadpool_limits(1):  # the same sums, and so the same bits, on any number of cores
            if not self._piece(piece).is_file():
                self._examine(piece)
            trial = piece[0]
            if all(self._piece((trial, name)).is_file() for name in self._sets()):
                self._answer(trial)

    def assemble(self) -> None:
        """Write the table of the search, then the trials and predictions as of any experiment."""
        run = RunFolder(self.out)
        run.searches.mkdir(exist_ok=True)
        files = sorted(self._partial().glob("chosen-*.parquet"))
        table = pa.concat_tables(read_table(file) for file in files)
        write_table(table.cast(SEARCH_SCHEMA), run.candidates_of(self.experiment.name))
        TrialStore(self.out, self.experiment).assemble()
        remove(self._partial())
        with suppress(OSError):  # what another search has kept is in it
            self._partial().parent.rmdir()

    def _examine(self, piece: Piece) -> None:
        trial, feature_set = piece
        own = [one for one in self.experiment.configurations if one.feature_set == feature_set]
        samples, train = self.by_set[feature_set], self.experiment.splits[trial].train
        settings = self.experiment.settings
        inner = inner_folds(samples, train, settings.inner_folds, self.experiment.seed)
        candidates = examine(own, samples, train, inner)
        self._partial().mkdir(parents=True, exist_ok=True)
        write_table(_piece_table(candidates, self._best(candidates)), self._piece(piece))

    def _best(self, candidates: list[Candidate]) -> list[Candidate]:
        """The best candidate of each classifier."""
        best: dict[str, Candidate] = {}
        for one in sorted(candidates, key=lambda one: one.rank(self.experiment.settings.metric)):
            best.setdefault(one.configuration.classifier, one)
        return list(best.values())

    def _answer(self, trial: int) -> None:
        started = time.perf_counter()
        tables = [read_table(self._piece((trial, name))) for name in self._sets()]
        rows = sorted((row for table in tables for row in table.to_pylist()),
                      key=lambda row: row["configuration"])  # fmt: skip
        candidates = [self._candidate(row) for row in rows if row["scores"] is not None]
        settings, split = self.experiment.settings, self.experiment.splits[trial]
        samples = next(iter(self.by_set.values()))
        members = best_members(
            candidates, samples.labels[split.train], settings.voters, settings.metric
        )
        result = answer(members, self.by_set, split, started)
        chosen = {member.configuration.number for member in members}
        write_table(self._table(trial, rows, chosen), self._chosen(trial))
        TrialStore(self.out, self.experiment).keep(trial, samples, result)

    def _candidate(self, row: dict[str, Any]) -> Candidate:
        scores = np.array(row["scores"], dtype=np.float64).reshape(-1, len(EMOTIONS))
        configuration = self.experiment.configurations[row["configuration"]]
        return Candidate(configuration, scores, row["inner_accuracy"], row["inner_macro_recall"])

    def _table(self, trial: int, rows: list[dict[str, Any]], chosen: set[int]) -> pa.Table:
        found = []
        for row in rows:
            configuration = self.experiment.configurations[row["configuration"]]
            found.append(
                {
                    **row,
                    "experiment": self.experiment.name,
                    "trial": trial,
                    "classifier": configuration.classifier,
                    "feature_set": configuration.feature_set,
                    "parameters": configuration.parameters_text(),
                    "chosen": configuration.number in chosen,
                }
            )
        return pa.Table.from_pylist(found, schema=SEARCH_SCHEMA)

    def _sets(self) -> list[str]:
        """Feature sets that a configuration was drawn for, in the settings' order."""
        drawn = {one.feature_set for one in self.experiment.configurations}
        return [name for name in self.experiment.settings.feature_sets if name in drawn]

    def _partial(self) -> Path:
        return RunFolder(self.out).searches_partial / self.experiment.fingerprint[:16]

    def _piece(self, piece: Piece) -> Path:
        return self._partial() / f"{piece[0]:06d}-{piece[1]}.parquet"

    def _chosen(self, trial: int) -> Path:
        return self._partial() / f"chosen-{trial:06d}.parquet"


def _piece_table(candidates: list[Candidate], best: list[Candidate]) -> pa.Table:
    """Figures of all candidates, and the scores of the best: only these can come to answer."""
    kept = {one.configuration.number for one in best}
    return pa.table(
        {
            "configuration": [one.configuration.number for one in candidates],
            "inner_accuracy": [one.accuracy for one in candidates],
            "inner_macro_recall": [one.macro_recall for one in candidates],
            "scores": pa.array(
                [
                    one.scores.ravel() if one.configuration.number in kept else None
                    for one in candidates
                ],
                pa.list_(pa.float64()),
            ),
        }
    )


def chosen(out: Path, experiment: str) -> list[dict[str, Any]]:
    """What answers in each trial of a search: one configuration, or several that vote."""
    columns = ["trial", "classifier", "feature_set", "parameters", "inner_accuracy"]
    found = read_table(
        RunFolder(out).candidates_of(experiment), columns=columns, filters=[("chosen", "=", True)]
    )
    return [{**row, "parameters": json.loads(row["parameters"])} for row in found.to_pylist()]
