import numpy as np
import pandas as pd
import pytest

from fer_ray.errors import UserError
from fer_ray.evaluation.attribute_groups import divide, group_figures

N_PEOPLE = 70


def predictions_of(share_correct: dict[str, float]) -> tuple[pd.DataFrame, pd.Series]:
    """Six predictions per person, and the group of each image: 30, 30 and 10 people."""
    rng = np.random.default_rng(3)
    person = np.repeat(np.arange(N_PEOPLE), 6)
    group = np.array(list(share_correct))[np.minimum(person // 30, 2)]
    label = np.tile([1, 5, 7], 2 * N_PEOPLE)
    correct = rng.random(len(person)) < np.array([share_correct[name] for name in group])
    predicted = np.where(correct, label, (label + 1) % 8)
    names = [f"{row}.png" for row in range(len(person))]
    table = pd.DataFrame(
        {
            "image_id": names,
            "subject": [f"S{number}" for number in person],
            "trial": 0,
            "label": label,
            "predicted": predicted,
            "probabilities": list(0.7 * np.eye(8)[predicted] + 0.3 / 8),
        }
    )
    return table, pd.Series(group, index=names)


def test_gap_between_groups() -> None:
    table, groups = predictions_of({"b": 0.9, "a": 0.6, "c": 0.5})
    figures = group_figures(table, "site", groups.drop(["0.png", "1.png"]))
    rows = {row["group"]: row for row in figures.rows}
    assert list(rows) == ["a", "b", "c"]
    assert figures.without_value == 2
    assert (rows["c"]["too_small"], rows["c"]["subjects"]) == (True, 10)
    assert "accuracy" not in rows["c"]
    chosen = table[table["image_id"].map(groups) == "a"]
    accuracy = (chosen["label"] == chosen["predicted"]).mean()
    assert rows["a"]["accuracy"] == pytest.approx(accuracy)
    assert rows["a"]["accuracy_low"] < accuracy < rows["a"]["accuracy_high"]
    gap = figures.gaps["accuracy"]
    assert (gap["better"], gap["worse"]) == ("b", "a")
    assert gap["gap"] == pytest.approx(rows["b"]["accuracy"] - rows["a"]["accuracy"])
    assert 0.1 < gap["interval"][0] < gap["gap"] < gap["interval"][1] < 0.5
    calibration = figures.gaps["calibration_error"]
    assert (
        rows[calibration["better"]]["calibration_error"]
        < rows[calibration["worse"]]["calibration_error"]
    )


def test_interval_of_no_gap_contains_zero() -> None:
    table, groups = predictions_of({"a": 0.75, "b": 0.75, "c": 0.75})
    low, high = group_figures(table, "site", groups).gaps["accuracy"]["interval"]
    assert low < 0.02 < high


def test_p_value_tells_real_gaps_from_those_of_random_groups() -> None:
    table, groups = predictions_of({"a": 0.9, "b": 0.6, "c": 0.6})
    real = group_figures(table, "site", groups).gaps
    assert real["accuracy"]["p_value"] < 0.01
    generator, p_values = np.random.default_rng(4), []
    people = table["subject"].unique()
    for _ in range(10):
        drawn = pd.Series(generator.permutation(np.resize(["x", "y", "z"], len(people))), people)
        random = pd.Series(table["subject"].map(drawn).to_numpy(), table["image_id"])
        p_values += [gap["p_value"] for gap in group_figures(table, "site", random).gaps.values()]
    assert np.mean(np.array(p_values) < 0.05) < 0.2
    assert 0.3 < np.mean(p_values) < 0.7


def test_subject_in_several_groups_has_no_p_value() -> None:
    table, _ = predictions_of({"a": 0.75, "b": 0.75, "c": 0.75})
    by_image = pd.Series(np.resize(["x", "y"], len(table)), table["image_id"])
    assert group_figures(table, "pose", by_image).gaps["accuracy"]["p_value"] is None


def test_interval_of_calibration_error_contains_it() -> None:
    table, groups = predictions_of({"a": 0.75, "b": 0.75, "c": 0.75})
    for row in group_figures(table, "site", groups).rows[:2]:
        low, high = row["calibration_error_low"], row["calibration_error_high"]
        assert 0 <= low < row["calibration_error"] < high
        assert 0 < row["chance_calibration_error"] < 0.1


def test_many_numbers_become_ranges() -> None:
    ages = pd.Series([str(age) for age in range(20, 60)])
    divided = divide(ages, "age")
    names = divided.cat.categories.tolist()
    assert names == ["20 to 28", "29 to 38", "39 to 48", "49 to 59"]
    days = pd.Series([str(day) for day in range(20260901, 20260931)])
    assert divide(days, "day").cat.categories[0] == "20260901 to 20260907"
    with pytest.raises(UserError, match="40 different values"):
        divide("P" + ages, "name")
