"""Which experiments may be compared: those of the same splits, tested on the same images."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import groupby

import pandas as pd

from fer_ray.evaluation.compare import PAIRED
from fer_ray.evaluation.results import ExperimentResults
from fer_ray.evaluation.split_wording import protocol_rank, split, split_settings

Rank = tuple[int, int, int, int, str, tuple[str, ...], str]


@dataclass(frozen=True)
class Group:
    """Experiments that may be compared.

    Attributes:
        split: Their protocol, number of trials and what else tells them from other groups: no two
            groups of a report share it.
        models: Best first.
    """

    split: str
    models: tuple[ExperimentResults, ...]

    @property
    def best(self) -> ExperimentResults:
        """The one of the highest accuracy."""
        return self.models[0]

    @property
    def title(self) -> str:
        """The heading over them."""
        return self.split[0].upper() + self.split[1:]


def grouped(experiments: Iterable[ExperimentResults]) -> list[Group]:
    """Experiments by their splits and test images; those that the verdict is of come first.

    Subject-disjoint protocols come before others, all eight classes before fewer, many test images
    before few, and splits of the reference settings before others.
    """
    ordered = groupby(sorted(experiments, key=_rank), key=_rank)
    found = [tuple(sorted(group, key=_quality)) for _, group in ordered]
    names = _names([models[0] for models in found])
    return [Group(name, models) for name, models in zip(names, found, strict=True)]


def _rank(item: ExperimentResults) -> Rank:
    made = item.summary
    settings = ",".join(f"{name}={value}" for name, value in sorted(split_settings(made).items()))
    return (
        protocol_rank(made.protocol),
        -len(made.classes),
        -len(item.predictions),
        -made.n_trials,
        f"{made.protocol} {settings}",
        made.classes,
        _tested(item),
    )


def _tested(item: ExperimentResults) -> str:
    """A digest of the test images of all trials, in any order."""
    return f"{pd.util.hash_pandas_object(item.predictions[PAIRED], index=False).sum():x}"


def _quality(item: ExperimentResults) -> tuple[float, str]:
    return -item.summary.test_accuracy, item.summary.experiment


def _names(firsts: list[ExperimentResults]) -> list[str]:
    """A name of each group that no other has; `firsts` holds one experiment of each."""
    names = [split(item.summary) for item in firsts]
    for more in (", {0.n_images} images", " with {0.feature_set} features"):
        taken = Counter(names)
        names = [
            name if taken[name] == 1 else name + more.format(item.summary)
            for name, item in zip(names, firsts, strict=True)
        ]
    return names
