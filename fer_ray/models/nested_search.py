"""A nested search: its plan, the work items that workers perform, and the resulting tables."""

import json
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from threadpoolctl import threadpool_limits

from fer_ray.evaluation.experiments.experiment import (
    Experiment,
    calibration_content,
    changed_settings,
    experiment_name,
    setting_text,
    splitting_settings,
)
from fer_ray.evaluation.experiments.samples import Samples
from fer_ray.evaluation.experiments.trial_store import TrialStore
from fer_ray.evaluation.protocols.folds import Folds
from fer_ray.evaluation.protocols.inner_splits import inner_folds
from fer_ray.models.candidates import (
    Candidate,
    evaluate_candidates,
    fit_and_predict,
    select_voters,
)
from fer_ray.models.configurations import Configuration, sample_configurations
from fer_ray.schemas import SEARCH_SCHEMA
from fer_ray.settings.base import fingerprint
from fer_ray.settings.training import SearchSettings, TrialSettings
from fer_ray.storage.files import remove
from fer_ray.storage.parquet import read_table, write_table
from fer_ray.storage.run_folder import RunFolder
from fer_ray.vocabulary import EMOTIONS

WorkItem = tuple[int, str]  # a trial and a feature set


@dataclass(frozen=True)
class SearchExperiment(Experiment):
    """An experiment whose classifier is selected within the training part of each trial."""

    settings: SearchSettings
    configurations: list[Configuration]


def plan_search(
    settings: SearchSettings, trials: TrialSettings, folds: Folds, frames_key: str
) -> SearchExperiment:
    """Plan the experiment of a search.

    Args:
        settings: Configurations, feature sets and classifiers to search.
        trials: Classes and seed.
        folds: The splits of the protocol.
        frames_key: Identifies the frames that the samples come from.
    """
    names = {"classes", *splitting_settings(folds, seeded=True)}
    splitting = trials.model_dump(mode="json", include=names)
    content = {
        "search": settings.model_dump(mode="json"),
        "splitting": {**splitting, "protocol": folds.protocol},
        "frames": frames_key,
        **calibration_content("temperature"),
    }
    parts = ["search", folds.protocol, *changed_settings(trials, names)]
    key = fingerprint(content)
    return SearchExperiment(
        name=experiment_name([*parts, *_changed_search_settings(settings)], key),
        fingerprint=key,
        classifier="search",
        feature_set="chosen",
        protocol=folds.protocol,
        seed=trials.seed,
        splits=folds.splits,
        leakage=folds.leakage,
        fit_settings={"search": settings.model_dump(mode="json"), "classes": trials.classes},
        settings=settings,
        configurations=sample_configurations(settings, trials.seed),
    )


def _changed_search_settings(settings: SearchSettings) -> list[str]:
    reference, changed = SearchSettings(), []
    for field in SearchSettings.model_fields:
        value = getattr(settings, field)
        if value != getattr(reference, field):
            changed.append(f"{field}={setting_text(value)}")
    return changed


@dataclass(frozen=True)
class NestedSearch:
    """Performs the work items of a search; small enough to send to each worker.

    A work item evaluates the configurations of one feature set in one trial, so that features are
    prepared once for all of them. The worker that finishes the last item of a trial also selects
    the classifiers of the trial and tests them. All files are written atomically, so performing an
    item twice does no harm.

    Attributes:
        experiment: The planned search.
        by_set: The samples with each feature set, for the same images.
        out: Run folder, the same on every node.
    """

    experiment: SearchExperiment
    by_set: dict[str, Samples]
    out: Path

    def missing(self) -> list[WorkItem]:
        """Return the work items that remain, in order of trials."""
        items = []
        for trial in TrialStore(self.out, self.experiment).missing():
            names = [name for name in self._sets() if not self._item_file((trial, name)).is_file()]
            items += [(trial, name) for name in names or self._sets()[-1:]]
        return items

    def __call__(self, item: WorkItem) -> None:
        """Perform a work item; after the last one of a trial, test the trial's selection."""
        with threadpool_limits(1):  # sums, and so results, do not depend on the number of CPUs
            if not self._item_file(item).is_file():
                self._evaluate(item)
            trial = item[0]
            if all(self._item_file((trial, name)).is_file() for name in self._sets()):
                self._test_selection(trial)

    def assemble(self) -> None:
        """Write the table of candidates, then trials and predictions as for any experiment."""
        run = RunFolder(self.out)
        TrialStore(self.out, self.experiment).require_all()
        run.searches.mkdir(exist_ok=True)
        files = sorted(self._partial().glob("chosen-*.parquet"))
        table = pa.concat_tables(read_table(file) for file in files)
        write_table(table.cast(SEARCH_SCHEMA), run.candidates_of(self.experiment.name))
        TrialStore(self.out, self.experiment).assemble()
        remove(self._partial())
        with suppress(OSError):  # fails if another search has files in it
            self._partial().parent.rmdir()

    def _evaluate(self, item: WorkItem) -> None:
        trial, feature_set = item
        configurations = [
            configuration
            for configuration in self.experiment.configurations
            if configuration.feature_set == feature_set
        ]
        samples, train = self.by_set[feature_set], self.experiment.splits[trial].train
        settings = self.experiment.settings
        inner = inner_folds(samples, train, settings.inner_folds, self.experiment.seed)
        candidates = evaluate_candidates(configurations, samples, train, inner)
        self._partial().mkdir(parents=True, exist_ok=True)
        write_table(_item_table(candidates, self._best(candidates)), self._item_file(item))

    def _best(self, candidates: list[Candidate]) -> list[Candidate]:
        """The best candidate of each classifier."""
        metric = self.experiment.settings.metric
        best: dict[str, Candidate] = {}
        for candidate in sorted(candidates, key=lambda candidate: candidate.rank(metric)):
            best.setdefault(candidate.configuration.classifier, candidate)
        return list(best.values())

    def _test_selection(self, trial: int) -> None:
        """Select the classifiers of a trial, test them, and store the trial."""
        started = time.perf_counter()
        rows = self._item_rows(trial)
        candidates = [self._candidate(row) for row in rows if row["scores"] is not None]
        settings, split = self.experiment.settings, self.experiment.splits[trial]
        samples = next(iter(self.by_set.values()))
        members = select_voters(
            candidates, samples.labels[split.train], settings.voters, settings.metric
        )
        result = fit_and_predict(members, self.by_set, split, started)
        selected = {member.configuration.number for member in members}
        write_table(self._search_table(trial, rows, selected), self._selection_file(trial))
        TrialStore(self.out, self.experiment).write_trial(trial, samples, result)

    def _item_rows(self, trial: int) -> list[dict[str, Any]]:
        """The rows of all work items of a trial, by configuration."""
        tables = [read_table(self._item_file((trial, name))) for name in self._sets()]
        rows = [row for table in tables for row in table.to_pylist()]
        return sorted(rows, key=lambda row: row["configuration"])

    def _candidate(self, row: dict[str, Any]) -> Candidate:
        scores = np.array(row["scores"], dtype=np.float64).reshape(-1, len(EMOTIONS))
        configuration = self.experiment.configurations[row["configuration"]]
        return Candidate(configuration, scores, row["inner_accuracy"], row["inner_macro_recall"])

    def _search_table(self, trial: int, rows: list[dict[str, Any]], selected: set[int]) -> pa.Table:
        complete = []
        for row in rows:
            configuration = self.experiment.configurations[row["configuration"]]
            complete.append(
                {
                    **row,
                    "experiment": self.experiment.name,
                    "trial": trial,
                    "classifier": configuration.classifier,
                    "feature_set": configuration.feature_set,
                    "parameters": configuration.parameters_json(),
                    "chosen": configuration.number in selected,
                }
            )
        return pa.Table.from_pylist(complete, schema=SEARCH_SCHEMA)

    def _sets(self) -> list[str]:
        """Feature sets of the configurations, in the order of the settings."""
        sampled = {configuration.feature_set for configuration in self.experiment.configurations}
        return [name for name in self.experiment.settings.feature_sets if name in sampled]

    def _partial(self) -> Path:
        return RunFolder(self.out).searches_partial / self.experiment.fingerprint[:16]

    def _item_file(self, item: WorkItem) -> Path:
        return self._partial() / f"{item[0]:06d}-{item[1]}.parquet"

    def _selection_file(self, trial: int) -> Path:
        return self._partial() / f"chosen-{trial:06d}.parquet"


def _item_table(candidates: list[Candidate], best: list[Candidate]) -> pa.Table:
    """Figures of all candidates, and scores of the best, which are the only ones to be selected."""
    with_scores = {candidate.configuration.number for candidate in best}
    scores = [
        candidate.scores.ravel() if candidate.configuration.number in with_scores else None
        for candidate in candidates
    ]
    return pa.table(
        {
            "configuration": [candidate.configuration.number for candidate in candidates],
            "inner_accuracy": [candidate.accuracy for candidate in candidates],
            "inner_macro_recall": [candidate.macro_recall for candidate in candidates],
            "scores": pa.array(scores, pa.list_(pa.float64())),
        }
    )


def selected_configurations(out: Path, experiment: str) -> list[dict[str, Any]]:
    """Read the selection of each trial of a search: one configuration, or several that vote."""
    columns = ["trial", "classifier", "feature_set", "parameters", "inner_accuracy"]
    table = read_table(
        RunFolder(out).candidates_of(experiment), columns=columns, filters=[("chosen", "=", True)]
    )
    return [{**row, "parameters": json.loads(row["parameters"])} for row in table.to_pylist()]
