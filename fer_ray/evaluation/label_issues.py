"""Labels that look wrong: confident learning on out-of-fold probabilities, and conflicts.

Confident learning estimates from the predicted probabilities how many images of each class belong
to another one, and which (Northcutt, Jiang and Chuang, Journal of Artificial Intelligence Research
70, 2021). A conflict is one picture under two labels.
"""

from collections import Counter, defaultdict
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from fer_ray.errors import UserError
from fer_ray.evaluation.experiments.results import ExperimentResults
from fer_ray.evaluation.protocols.leakage import identities_of, read_identity_columns
from fer_ray.storage.parquet import read_table
from fer_ray.vocabulary import EMOTIONS, USABLE_STATUSES

# `DIR/label_issues.parquet`: one row per labelled image, the most suspicious first.
LABEL_ISSUES_SCHEMA = pa.schema(
    [
        pa.field("image_id", pa.string(), nullable=False),
        pa.field("path", pa.string(), nullable=False),  # relative to the source
        pa.field("subject", pa.string()),
        pa.field("emotion", pa.string(), nullable=False),  # the given label
        pa.field("rank", pa.int32()),  # from 1; null if the label does not look wrong
        pa.field("suggested", pa.string()),  # most probable class; null if not predicted
        pa.field("p_emotion", pa.float64()),  # out-of-fold probability of the given label
        pa.field("p_suggested", pa.float64()),
        pa.field("quality", pa.float64()),  # of the label, 0 to 1, relative to its class
        # Images of the same picture under another label, and how they were found:
        # content or near_duplicate.
        pa.field("conflict", pa.string()),
        pa.field("conflicts_with", pa.list_(pa.string())),
    ]
)

LABELLED_COLUMNS = ("path", "subject", "session", "status", "sha256", "emotion")

Conflicts = dict[str, tuple[str, list[str]]]  # by image: the kind, and the other images


def label_issues(frames: Path, experiment: ExperimentResults) -> pa.Table:
    """Rank the labels of a run folder by how wrong they look.

    Args:
        frames: The run's folder `frames`.
        experiment: An experiment whose test predictions are compared with the labels.

    Returns:
        `LABEL_ISSUES_SCHEMA`: issues by rank, then conflicts, then all other labelled images.

    Raises:
        UserError: The predictions contain fewer than two classes.
    """
    labelled = read_labelled(frames)
    ranked = rank_labels(out_of_fold_probabilities(experiment.predictions))
    conflicts = find_conflicts(labelled, frames)
    rows = labelled.join(ranked)
    rows["conflict"] = [conflicts.get(name, (None,))[0] for name in rows.index]
    others = [conflicts[name][1] if name in conflicts else None for name in rows.index]
    rows["conflicts_with"] = pd.Series(others, rows.index, dtype=object)
    rows["unpredicted"] = rows["conflict"].isna()
    rows = rows.sort_values(["rank", "unpredicted", "quality", "image_id"], na_position="last")
    return pa.Table.from_pandas(rows.reset_index(), LABEL_ISSUES_SCHEMA, preserve_index=False)


def read_labelled(frames: Path) -> pd.DataFrame:
    """Read the labelled images by image_id: `LABELLED_COLUMNS`; None where a value is unknown."""
    table = read_table(frames, columns=["image_id", *LABELLED_COLUMNS])
    rows = table.filter(pc.is_valid(table["emotion"])).to_pydict()
    return pd.DataFrame(rows, dtype=object).set_index("image_id")


def out_of_fold_probabilities(predictions: pd.DataFrame) -> pd.DataFrame:
    """Average the test predictions of each image over the trials that tested it.

    Args:
        predictions: `schemas.PREDICTIONS_SCHEMA`.

    Returns:
        By image_id: `label`, and `probabilities` (8,).
    """
    groups = predictions.groupby("image_id")
    means = groups["probabilities"].agg(lambda rows: np.mean(np.stack(rows.to_list()), axis=0))
    return pd.DataFrame({"label": groups["label"].first(), "probabilities": means})


def rank_labels(predicted: pd.DataFrame) -> pd.DataFrame:
    """Find the labels that look wrong.

    Args:
        predicted: From `out_of_fold_probabilities`.

    Returns:
        By image_id: `rank`, `suggested`, `p_emotion`, `p_suggested` and `quality`.

    Raises:
        UserError: There are fewer than two classes.
    """
    from cleanlab.filter import find_label_issues  # slow to import
    from cleanlab.rank import get_label_quality_scores

    classes = np.unique(predicted["label"])
    if len(classes) < 2:
        raise UserError(
            "Label issues need predictions for images of two or more classes. Use an experiment "
            "with more classes."
        )
    probabilities = np.stack(predicted["probabilities"].to_list()).astype(float)[:, classes]
    probabilities = _normalised(probabilities)
    labels = np.searchsorted(classes, predicted["label"].to_numpy())
    quality = get_label_quality_scores(
        labels, probabilities, method="self_confidence", adjust_pred_probs=True
    )
    issue = find_label_issues(labels, probabilities, filter_by="prune_by_noise_rate", n_jobs=1)
    suggested, rows = probabilities.argmax(axis=1), np.arange(len(labels))
    order = np.lexsort([predicted.index.to_numpy(dtype=str), quality, ~issue])[: issue.sum()]
    rank = pd.array([pd.NA] * len(labels), dtype="Int32")
    rank[order] = np.arange(1, len(order) + 1)
    return pd.DataFrame(
        {
            "rank": rank,
            "suggested": [EMOTIONS[code] for code in classes[suggested]],
            "p_emotion": probabilities[rows, labels],
            "p_suggested": probabilities[rows, suggested],
            "quality": quality,
        },
        index=predicted.index,
    )


def _normalised(probabilities: NDArray[np.float64]) -> NDArray[np.float64]:
    """Let each row add up to 1; uniform where a model was trained on none of these classes."""
    totals = probabilities.sum(axis=1, keepdims=True)
    normalised = np.full_like(probabilities, 1 / probabilities.shape[1])
    np.divide(probabilities, totals, out=normalised, where=totals > 0)
    return normalised


def find_conflicts(labelled: pd.DataFrame, frames: Path) -> Conflicts:
    """Find pictures that occur under two labels.

    Near-duplicates within one sequence do not conflict: its frames lead from neutral to the peak.

    Args:
        labelled: From `read_labelled`.
        frames: Folder of the frames.

    Returns:
        By image: how the pictures were found to be the same, and the other images.
    """
    with_faces = labelled.index[labelled["status"].isin([*USABLE_STATUSES])].tolist()
    found: dict[str, dict[str, set[str]]] = {"content": defaultdict(set)}
    repeated = labelled[labelled["sha256"].duplicated(keep=False)]
    for _, group in repeated.groupby("sha256"):
        for name, emotion in group["emotion"].items():
            found["content"][str(name)] |= set(group.index[group["emotion"] != emotion])
    pairs = identities_of(read_identity_columns(frames, with_faces)).pairs["near_duplicate"]
    found["near_duplicate"] = defaultdict(set)
    rows = labelled.loc[with_faces]
    for first, second in [] if pairs is None else pairs.tolist():
        if _in_conflict(rows.iloc[first], rows.iloc[second]):
            found["near_duplicate"][with_faces[first]].add(with_faces[second])
    return {
        name: (kind, sorted(others))
        for kind, by_image in reversed(found.items())  # content, which is certain, takes precedence
        for name, others in by_image.items()
        if others
    }


def _in_conflict(first: "pd.Series[Any]", second: "pd.Series[Any]") -> bool:
    same_sequence = first["session"] is not None and (first["subject"], first["session"]) == (
        second["subject"],
        second["session"],
    )
    return bool(first["emotion"] != second["emotion"] and not same_sequence)


def count_pairs(issues: pd.DataFrame) -> list[tuple[str, str, int, float]]:
    """Count issues by given and suggested class, the most frequent pair first.

    Args:
        issues: `LABEL_ISSUES_SCHEMA`.

    Returns:
        Given class, suggested class, number of issues, and their share of the given class.
    """
    totals = Counter(issues["emotion"])
    ranked = issues[issues["rank"].notna()]
    pairs = Counter(zip(ranked["emotion"], ranked["suggested"], strict=True))
    return [
        (given, suggested, count, count / totals[given])
        for (given, suggested), count in pairs.most_common()
    ]
