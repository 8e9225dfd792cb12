"""Groups of experiments that can be compared: the same splits, tested on the same images."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import groupby

import pandas as pd

from fer_ray.evaluation.comparison import PAIRED
from fer_ray.evaluation.experiments.experiment_labels import (
    describe_splits,
    protocol_rank,
    split_settings,
)
from fer_ray.evaluation.experiments.results import ExperimentResults

Rank = tuple[int, int, int, int, str, tuple[str, ...], str]


@dataclass(frozen=True)
class ExperimentGroup:
    """Experiments that can be compared.

    Attributes:
        split: Protocol, number of trials, and any other difference from other groups: unique within
            a report.
        models: The experiments, best first.
    """

    split: str
    models: tuple[ExperimentResults, ...]

    @property
    def best(self) -> ExperimentResults:
        """The experiment with the highest accuracy."""
        return self.models[0]

    @property
    def title(self) -> str:
        """The heading of the group."""
        return self.split[0].upper() + self.split[1:]


def group_experiments(experiments: Iterable[ExperimentResults]) -> list[ExperimentGroup]:
    """Group experiments by splits and test images.

    Groups with subject-disjoint protocols come first, then those with more classes, more test
    images and more trials. The verdict uses the first group.
    """
    ordered = groupby(sorted(experiments, key=_rank), key=_rank)
    groups = [tuple(sorted(members, key=_quality)) for _, members in ordered]
    names = _unique_names([members[0] for members in groups])
    return [ExperimentGroup(name, members) for name, members in zip(names, groups, strict=True)]


def _rank(item: ExperimentResults) -> Rank:
    summary = item.summary
    settings = ",".join(
        f"{name}={value}" for name, value in sorted(split_settings(summary).items())
    )
    return (
        protocol_rank(summary.protocol),
        -len(summary.classes),
        -len(item.predictions),
        -summary.n_trials,
        f"{summary.protocol} {settings}",
        summary.classes,
        _test_digest(item),
    )


def _test_digest(item: ExperimentResults) -> str:
    """A digest of the test images of all trials, independent of their order."""
    return f"{pd.util.hash_pandas_object(item.predictions[PAIRED], index=False).sum():x}"


def _quality(item: ExperimentResults) -> tuple[float, str]:
    return -item.summary.test_accuracy, item.summary.experiment


def _unique_names(firsts: list[ExperimentResults]) -> list[str]:
    """A distinct name for each group, given one experiment of each."""
    names = [describe_splits(item.summary) for item in firsts]
    for suffix in (", {0.n_images} images", " with {0.feature_set} features"):
        uses = Counter(names)
        names = [
            name if uses[name] == 1 else name + suffix.format(item.summary)
            for name, item in zip(names, firsts, strict=True)
        ]
    return names
