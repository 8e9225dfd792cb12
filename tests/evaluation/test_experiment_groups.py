"""Which experiments are compared, and how they and their groups are labelled."""

from itertools import product

import pytest

from fer_ray.evaluation.experiments.experiment_groups import group_experiments
from tests.evaluation.simulated_experiments import FOLDS, LINEAR, POLY, RBF, TWO_ALIKE, experiment


def test_groups_have_one_protocol_best_first():
    groups = group_experiments((*TWO_ALIKE[::-1], experiment(RBF, "random", 0.975)))
    accuracies = [[item.summary.test_accuracy for item in group.models] for group in groups]
    assert accuracies == [[0.8, 0.775], [0.975]]


def test_random_splits_with_other_settings():
    ten = [experiment(kernel, "random", 0.8) for kernel in (LINEAR, POLY)]
    apart = [
        experiment(LINEAR, "random", 0.95, n_trials=2, settings="-n_trials=2"),
        experiment(LINEAR, "random", 0.9, images="3", settings="-seed=3"),
        experiment(LINEAR, "random", 0.9, settings="-train_share=0.6"),  # the same test images
    ]
    assert [(group.title, len(group.models)) for group in group_experiments([*apart, *ten])] == [
        ("10 random splits", 2),
        ("10 random splits, seed 3", 1),
        ("10 random splits, 60% of each class in training", 1),
        ("2 random splits", 1),
    ]


def test_titles_of_groups_with_other_images():
    groups = group_experiments(
        [experiment(LINEAR, FOLDS, 0.9), experiment(LINEAR, FOLDS, 0.8, n_trials=9),
         experiment(LINEAR, FOLDS, 0.8, images="o", feature_set="delta")]
    )  # fmt: skip
    assert [group.title for group in groups] == [
        "10 folds by subject, 400 images with reference features",
        "10 folds by subject, 400 images with delta features",
        "9 folds by subject",
    ]


def test_group_order():
    seven = experiment(LINEAR, FOLDS, 0.9, classes=range(1, 8), settings="-classes=7")
    few = experiment(LINEAR, FOLDS, 0.9, n_trials=4)
    many = experiment(LINEAR, "loso", 0.9, n_trials=12)
    titles = [group.title for group in group_experiments([few, seven, many])]
    assert titles == [
        "4 folds by subject",
        "10 folds by subject, 7 classes without neutral",
        "Leave one subject out, 12 folds",
    ]


def test_labels_are_unique_in_a_group():
    methods = ["", "-C=0.5", "-scale=standard", "-scale=standard-C=0.5", "-tol=1e-05",
               "-gamma=scale", "-augment=2", "-degree=2"]  # fmt: skip
    searches = ["-configurations=9", "-inner_folds=3", "-voters=1", "-metric=macro_recall",
                "-feature_sets=hog,landmarks", "-classifiers=lda,svm-rbf"]  # fmt: skip
    heads = ["-searcher=random", "-max_epochs=9", "-finalists=1", "-repeats=1", "-draws=5"]
    sets = ["reference", "hog", "delta", "delta-hog"]
    experiments = [experiment(LINEAR, FOLDS, 0.8, settings=method, feature_set=name)
            for method, name in product(methods, sets)]  # fmt: skip
    experiments += [experiment("search", FOLDS, 0.8, settings=search, feature_set="chosen")
             for search in ["", *searches, "-seed=1", "-seed=2"]]  # fmt: skip
    experiments += [experiment("head-search", FOLDS, 0.8, settings=head) for head in ["", *heads]]
    (group,) = group_experiments(experiments)
    labels = [item.label for item in group.models]
    assert len(set(labels)) == len(experiments)


@pytest.mark.parametrize("seeded", ["-seed=1", ""])
def test_seed_in_title_or_label(seeded):
    (random,) = group_experiments([experiment("head", "random", 0.8, settings=seeded)])
    (folds,) = group_experiments([experiment("head", FOLDS, 0.8, settings=seeded)])
    assert ("seed 1" in random.title, "seed 1" in random.best.label) == (bool(seeded), False)
    assert ("seed 1" in folds.title, "seed 1" in folds.best.label) == (False, bool(seeded))
