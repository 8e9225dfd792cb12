"""Which experiments are compared, and what they and their groups are called."""

from itertools import product

import pytest

from fer_ray.evaluation.comparable import grouped
from tests.report.test_verdict import FOLDS, LINEAR, POLY, RBF, TWO_ALIKE, experiment


def test_protocols_are_never_mixed_and_the_best_comes_first():
    groups = grouped((*TWO_ALIKE[::-1], experiment(RBF, "random", 0.975)))
    accuracies = [[item.summary.test_accuracy for item in group.models] for group in groups]
    assert accuracies == [[0.8, 0.775], [0.975]]


def test_random_trials_of_other_numbers_seeds_and_shares_are_groups_of_their_own():
    ten = [experiment(kernel, "random", 0.8) for kernel in (LINEAR, POLY)]
    apart = [
        experiment(LINEAR, "random", 0.95, n_trials=2, settings="-n_trials=2"),
        experiment(LINEAR, "random", 0.9, images="3", settings="-seed=3"),
        experiment(LINEAR, "random", 0.9, settings="-train_share=0.6"),  # the same test images
    ]
    assert [(group.title, len(group.models)) for group in grouped([*apart, *ten])] == [
        ("10 random splits", 2),
        ("10 random splits, seed 3", 1),
        ("10 random splits, 60\u00a0% of each class in training", 1),
        ("2 random splits", 1),
    ]


def test_groups_of_the_same_splits_but_other_images_are_told_apart_by_these():
    groups = grouped(
        [experiment(LINEAR, FOLDS, 0.9), experiment(LINEAR, FOLDS, 0.8, n_trials=9),
         experiment(LINEAR, FOLDS, 0.8, images="o", feature_set="delta")]
    )  # fmt: skip
    assert [group.title for group in groups] == [
        "10 folds by subject, 400 images with reference features",
        "10 folds by subject, 400 images with delta features",
        "9 folds by subject",
    ]


def test_more_classes_and_then_more_test_images_come_first():
    seven = experiment(LINEAR, FOLDS, 0.9, classes=range(1, 8), settings="-classes=7")
    few = experiment(LINEAR, FOLDS, 0.9, n_trials=4)
    many = experiment(LINEAR, "loso", 0.9, n_trials=12)
    titles = [group.title for group in grouped([few, seven, many])]
    assert titles == [
        "4 folds by subject",
        "10 folds by subject, 7 classes without neutral",
        "Leave one subject out, 12 folds",
    ]


def test_no_two_rows_of_a_group_carry_the_same_label():
    methods = ["", "-C=0.5", "-scale=standard", "-scale=standard-C=0.5", "-tol=1e-05",
               "-gamma=scale", "-augment=2", "-degree=2"]  # fmt: skip
    searches = ["-configurations=9", "-inner_folds=3", "-voters=1", "-metric=macro_recall",
                "-feature_sets=hog,landmarks", "-classifiers=lda,svm-rbf"]  # fmt: skip
    heads = ["-searcher=random", "-most_epochs=9", "-finalists=1", "-repeats=1", "-draws=5"]
    sets = ["reference", "hog", "delta", "delta-hog"]
    made = [experiment(LINEAR, FOLDS, 0.8, settings=one, feature_set=name)
            for one, name in product(methods, sets)]  # fmt: skip
    made += [experiment("search", FOLDS, 0.8, settings=one, feature_set="chosen")
             for one in ["", *searches, "-seed=1", "-seed=2"]]  # fmt: skip
    made += [experiment("head-search", FOLDS, 0.8, settings=one) for one in ["", *heads]]
    (group,) = grouped(made)
    labels = [item.label for item in group.models]
    assert len(set(labels)) == len(made)


@pytest.mark.parametrize("seeded", ["-seed=1", ""])
def test_a_seed_is_of_the_splits_where_these_are_random_and_of_the_method_under_folds(seeded):
    (random,) = grouped([experiment("head", "random", 0.8, settings=seeded)])
    (folds,) = grouped([experiment("head", FOLDS, 0.8, settings=seeded)])
    assert ("seed 1" in random.title, "seed 1" in random.best.label) == (bool(seeded), False)
    assert ("seed 1" in folds.title, "seed 1" in folds.best.label) == (False, bool(seeded))
