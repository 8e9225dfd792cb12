"""The report of predictions on labelled images: the model on this source and in training."""

from pathlib import Path
from typing import Any

from fer_ray.evaluation.experiments.results import ExperimentResults, RunResults
from fer_ray.evaluation.experiments.summary import summarise
from fer_ray.evaluation.labelled_predictions import (
    select_evaluable,
    to_predictions,
    to_trial_row,
)
from fer_ray.features.face_rows import one_row_per_image
from fer_ray.models.bundles.bundle_manifest import Evidence
from fer_ray.report import run_figures
from fer_ray.report.figures.landmark_plots import FaceSource
from fer_ray.report.figures.themed_picture import Picture, draw_picture
from fer_ray.report.figures.transfer_plot import MetricPair, transfer_plot
from fer_ray.report.rendering import render, write_report_folder
from fer_ray.report.sections import data_tables, experiment_tables
from fer_ray.report.sections.answer_tables import confidence_rows
from fer_ray.report.sections.confusion_tables import Faces, confusion_table, describe_confusion
from fer_ray.report.sections.misclassified import find_misclassified
from fer_ray.report.text import formatting
from fer_ray.report.text.method_settings import setting_rows
from fer_ray.report.text.transfer_wording import (
    NAN_INTERVAL,
    Transfer,
    common_classes,
    common_macro_recall,
    headline,
    interval_or_nan,
    notes,
    sentence,
)
from fer_ray.storage.parquet import read_table
from fer_ray.storage.paths import to_path
from fer_ray.storage.run_folder import PredictionFolder
from fer_ray.vocabulary import EMOTIONS


def write_prediction_report(
    out: Path, record: dict[str, Any], trained_on: frozenset[str], show_faces: bool
) -> Path:
    """Write `out/report` about predictions on labelled images.

    Args:
        out: Folder of a finished prediction.
        record: Its `predict.json`, with the figures of an evaluation.
        trained_on: Hex SHA-256 of the files that the model was fitted on.
        show_faces: Whether faces of real people may be shown; synthetic faces always are.

    Returns:
        The path of the page.
    """
    transfer = _read_transfer(out, record, trained_on)
    run = transfer.run
    root = to_path(run.data["root"])
    faces = FaceSource(
        root if root.is_dir() else None, show_faces or run.synthetic, run.crop_size_px
    )
    transfer_picture = _transfer_picture(transfer)
    confusion = confusion_table(transfer.item, run.frames, Faces(run.frames, faces), 0)
    context = {
        **{"transfer": transfer, "run": run, "faces": faces, "transfer_picture": transfer_picture},
        **{"wrong": find_misclassified(transfer.item, run.usable, faces)},
        **{"headline": headline(transfer), "sentence": sentence(transfer)},
        **{"notes": notes(transfer), "bundle": record["bundle"], "emotions": EMOTIONS},
        **{"metrics": metric_rows(transfer), "classes": class_rows(transfer)},
        **{"confidence": confidence_rows(record)},
        **{"settings": setting_rows(record["settings"]), "confusion": confusion},
        **{"describe_confusion": describe_confusion},
        **{"tables": experiment_tables, "data_tables": data_tables, "formatting": formatting},
    }
    page = render("prediction.html", context)
    figures = {transfer_picture.name: transfer_picture.light} | run_figures.confusion_files(run)
    return write_report_folder(out, page, figures)


def _read_transfer(out: Path, record: dict[str, Any], trained_on: frozenset[str]) -> Transfer:
    bundle = record["bundle"]
    evidence, labels = Evidence.model_validate(bundle["evidence"]), tuple(bundle["labels"])
    rows = one_row_per_image(read_table(PredictionFolder(out).predictions)).to_pandas()
    for name in ("subject", "emotion", "predicted"):  # missing values as None, which is false
        rows[name] = rows[name].astype(object).where(rows[name].notna(), None)
    predictions = to_predictions(select_evaluable(rows, labels, trained_on), labels)
    model = bundle["model"]
    experiment = (evidence.experiment, model["classifier"], model["feature_set"])
    trial = to_trial_row(predictions, *experiment, n_train=bundle["trained_images"])
    item = ExperimentResults(trial, predictions, summarise(trial, predictions))
    run = RunResults(rows, record, (item,), {})
    return Transfer(run, item, evidence, record["evaluation"])


def _transfer_picture(transfer: Transfer) -> Picture:
    target, trained = transfer.run.data_name, transfer.evidence.data
    pairs = _metric_pairs(transfer)
    facts = "; ".join(
        f"{pair.name} {formatting.percent(pair.target)} versus {formatting.percent(pair.trained)}"
        for pair in pairs
    )
    return draw_picture(
        "transfer",
        f"Accuracy, macro recall and recall by class on {target}, versus the training protocol on "
        f"{trained}. {facts}.",
        lambda theme: transfer_plot(pairs, target, trained, theme),
    )


def _metric_pairs(transfer: Transfer) -> list[MetricPair]:
    """Accuracy, macro recall, and the recall of each class, in both evaluations."""
    figures, evidence = transfer.figures, transfer.evidence
    pairs = [
        MetricPair("accuracy", figures["accuracy"],
                   interval_or_nan(figures["intervals_95"]["accuracy"]),
                   evidence.test_accuracy, interval_or_nan(evidence.interval_95)),
        MetricPair("macro recall", *common_macro_recall(transfer), NAN_INTERVAL),
    ]  # fmt: skip
    for name in EMOTIONS:
        target = figures["recall_by_class"].get(name)
        trained = evidence.recall_by_class.get(name)
        if target or trained:
            pairs.append(
                MetricPair(
                    name,
                    target["recall"] if target else float("nan"),
                    interval_or_nan(target["interval_95"]) if target else NAN_INTERVAL,
                    trained.recall if trained else float("nan"),
                    trained.interval_95 if trained else NAN_INTERVAL,
                )
            )
    return pairs


def metric_rows(transfer: Transfer) -> experiment_tables.Rows:
    """Each metric on this source with its interval, and under the training protocol."""
    figures, evidence = transfer.figures, transfer.evidence
    intervals = figures["intervals_95"]
    recall, recall_interval, trained_recall = common_macro_recall(transfer)
    same_classes = set(figures["recall_by_class"]) == set(evidence.recall_by_class)
    loss = formatting.known_interval(intervals["log_loss"])
    return [
        ("Accuracy", formatting.percent(figures["accuracy"]),
         formatting.interval(intervals["accuracy"]), formatting.percent(evidence.test_accuracy)),
        (f"Macro recall over the {len(common_classes(transfer))} classes tested in both",
         formatting.percent(recall), formatting.interval(recall_interval),
         formatting.percent(trained_recall)),
        ("Macro F1", formatting.percent(figures["macro_f1"]),
         formatting.interval(intervals["macro_f1"]),
         formatting.percent(evidence.macro_f1) if same_classes else "other classes"),
        ("Log loss, nats", formatting.loss(figures["log_loss"]),
         "–".join(formatting.loss(end) for end in loss) if loss else formatting.NO_INTERVAL,
         formatting.loss(evidence.test_log_loss)),
        ("Calibration error", formatting.percent(figures["calibration_error"]), "",
         formatting.percent(evidence.calibration_error)),
        ("Majority class", formatting.percent(figures["majority_class_share"]), "", "–"),
        ("Accuracy, images without a face counted as wrong",
         formatting.percent(figures["accuracy_counting_no_face_as_wrong"]), "", "–"),
    ]  # fmt: skip


def class_rows(transfer: Transfer) -> experiment_tables.Rows:
    """Each class with its labelled images, predictions, and recall in both evaluations."""
    labelled = transfer.run.frames["emotion"].value_counts()
    rows: experiment_tables.Rows = []
    for name in EMOTIONS:
        target = transfer.figures["recall_by_class"].get(name)
        trained = transfer.evidence.recall_by_class.get(name)
        if name in labelled.index or trained:
            predicted = target["images"] if target else 0
            rows.append((name, str(labelled.get(name, 0)), str(predicted),
                         _recall(target and (target["recall"], target["interval_95"])),
                         _recall(trained and (trained.recall, trained.interval_95))))  # fmt: skip
    return rows


def _recall(recall_and_interval: Any) -> str:
    if not recall_and_interval:
        return "–"
    recall, interval = recall_and_interval
    return f"{formatting.percent(recall)} ({formatting.interval(interval)})"
