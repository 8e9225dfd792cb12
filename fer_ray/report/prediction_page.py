"""The page of a prediction: how the model does on these images, and how it did in training."""

from pathlib import Path
from typing import Any

from fer_ray.evaluation import answers
from fer_ray.evaluation.results import ExperimentResults, RunResults
from fer_ray.evaluation.summary import summarise
from fer_ray.models.bundles.evidence import Evidence
from fer_ray.report import exhibits, experiment_rows, source
from fer_ray.report.figures.faces import FaceSource
from fer_ray.report.figures.picture import Picture, picture
from fer_ray.report.figures.transfer import Pair, carry_over_figure
from fer_ray.report.gallery import make_gallery
from fer_ray.report.html import render
from fer_ray.report.page import put_in_place
from fer_ray.report.text import wording
from fer_ray.report.text.method_settings import setting_rows
from fer_ray.report.text.transfer_wording import (
    NOWHERE,
    Case,
    headline,
    notes,
    sentence,
    shared,
    shared_recall,
    span_of,
)
from fer_ray.storage.parquet import read_table
from fer_ray.storage.run_folder import PredictionFolder
from fer_ray.vocabulary import EMOTIONS


def write_page(
    out: Path, record: dict[str, Any], trained_on: set[str], show_faces: bool
) -> Path | None:
    """Write `out/report` about predictions on labelled images; None where nothing can be told.

    Args:
        out: Folder of a finished prediction.
        record: Its `predict.json`.
        trained_on: Hex SHA-256 of the files that the model was fitted on.
        show_faces: Whether faces of real people may be shown; synthetic ones always are.
    """
    if record["evaluation"] is None or record["evaluation"]["figures"] is None:
        return None
    case = _case(out, record, trained_on)
    root = Path(case.run.data["root"])
    allowed = show_faces or case.run.synthetic
    faces = FaceSource(root if root.is_dir() else None, allowed, case.run.crop_size_px)
    gallery = make_gallery(case.item, case.run.usable, faces)
    pictures = _pictures(case)
    context = {
        **{"case": case, "run": case.run, "faces": faces, "gallery": gallery, "fig": pictures},
        **{"headline": headline(case), "sentence": sentence(case), "notes": notes(case)},
        **{"rows": figure_rows(case), "classes": class_rows(case), "bundle": record["bundle"]},
        **{"emotions": EMOTIONS, "tables": experiment_rows, "source": source, "wording": wording},
        **{"settings": setting_rows(record["settings"])},
    }
    page = render("carry_over.html", context)
    return put_in_place(out, page, list(pictures.values()))


def _case(out: Path, record: dict[str, Any], trained_on: set[str]) -> Case:
    evidence = Evidence.model_validate(record["bundle"]["evidence"])
    labels = tuple(record["bundle"]["labels"])
    rows = read_table(PredictionFolder(out).predictions).to_pandas()
    for name in ("subject", "emotion", "predicted"):  # null as None, which is false, and not as nan
        rows[name] = rows[name].astype(object).where(rows[name].notna(), None)
    answered = answers.answers(answers.judged(rows, labels, trained_on), labels)
    member = record["bundle"]["model"]
    experiment = (evidence.experiment, member["classifier"], member["feature_set"])
    trial = answers.trial_of(answered, *experiment, n_train=record["bundle"]["trained_images"])
    item = ExperimentResults(trial, answered, summarise(trial, answered))
    run = RunResults(rows, record, (item,), {})
    return Case(run, item, evidence, record["evaluation"])


def _pictures(case: Case) -> dict[str, Picture]:
    pairs = _pairs(case)
    facts = "; ".join(
        f"{one.name} {wording.percent(one.here)} here, {wording.percent(one.there)} there"
        for one in pairs
    )
    carried = picture(
        "carry-over",
        f"Accuracy, mean recall and recall by class on {case.run.data_name} and under the training "
        f"protocol on {case.evidence.data}. {facts}.",
        lambda theme: carry_over_figure(pairs, case.run.data_name, case.evidence.data, theme),
    )
    return {"carry-over": carried, "confusion": exhibits.confusion_picture(case.run, case.item)}


def _pairs(case: Case) -> list[Pair]:
    """What is drawn: accuracy, mean recall, and the recall of each class, here and there."""
    here, there = case.figures, case.evidence
    pairs = [
        Pair("accuracy", here["accuracy"], span_of(here["intervals_95"]["accuracy"]),
             there.test_accuracy, span_of(there.interval_95)),
        Pair("mean recall", *shared_recall(case), NOWHERE),
    ]  # fmt: skip
    for name in EMOTIONS:
        own, trained = here["recall_by_class"].get(name), there.recall_by_class.get(name)
        if own or trained:
            pairs.append(
                Pair(
                    name,
                    own["recall"] if own else float("nan"),
                    span_of(own["interval_95"]) if own else NOWHERE,
                    trained.recall if trained else float("nan"),
                    trained.interval_95 if trained else NOWHERE,
                )
            )
    return pairs


def figure_rows(case: Case) -> experiment_rows.Rows:
    """Each figure here with its interval, and under the training protocol."""
    here, there = case.figures, case.evidence
    recall, interval, before = shared_recall(case)
    same = set(here["recall_by_class"]) == set(there.recall_by_class)
    loss = wording.known(here["intervals_95"]["log_loss"])
    return [
        ("Accuracy", wording.percent(here["accuracy"]),
         wording.span(here["intervals_95"]["accuracy"]),
         wording.percent(there.test_accuracy)),
        (f"Mean recall over the {len(shared(case))} classes tested in both",
         wording.percent(recall), wording.span(interval),
         wording.percent(before)),
        ("Macro F1", wording.percent(here["macro_f1"]),
         wording.span(here["intervals_95"]["macro_f1"]),
         wording.percent(there.macro_f1) if same else "other classes"),
        ("Log loss, nats", wording.loss(here["log_loss"]),
         "–".join(wording.loss(end) for end in loss) if loss else wording.NONE,
         wording.loss(there.test_log_loss)),
        ("Calibration error", wording.percent(here["calibration_error"]), "",
         wording.percent(there.calibration_error)),
        ("Always the commonest class", wording.percent(here["commonest_class_share"]), "", "–"),
        ("Accuracy, counting no face as wrong",
         wording.percent(here["accuracy_counting_no_face_as_wrong"]), "", "–"),
    ]  # fmt: skip


def class_rows(case: Case) -> experiment_rows.Rows:
    """Of each class: images labelled so, share with a face, recall here and there."""
    asked = case.run.frames["emotion"].value_counts()
    rows: experiment_rows.Rows = []
    for name in EMOTIONS:
        here, there = (
            case.figures["recall_by_class"].get(name),
            case.evidence.recall_by_class.get(name),
        )
        if name in asked.index or there:
            rows.append((name, str(asked.get(name, 0)), str(here["images"] if here else 0),
                         _recall(here and (here["recall"], here["interval_95"])),
                         _recall(there and (there.recall, there.interval_95))))  # fmt: skip
    return rows


def _recall(one: Any) -> str:
    return f"{wording.percent(one[0])} ({wording.span(one[1])})" if one else "–"
