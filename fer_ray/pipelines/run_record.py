"""The record of a run, `run.json`: what it did, and whether a finished run is the same."""

import json
from typing import Any

import pandas as pd

from fer_ray import __version__
from fer_ray.evaluation.experiments.results import ExperimentResults, RunResults, late_cohorts
from fer_ray.evaluation.experiments.summary import ExperimentSummary, summary_record
from fer_ray.pipelines.training.require_splits import NO_SUBJECT_FOLDS, subjects_known
from fer_ray.report.text.verdict import derive_verdict
from fer_ray.settings.root import Settings
from fer_ray.storage.environment import library_versions, machine
from fer_ray.vocabulary import SCHEMA_VERSION


def describe_run(
    settings: Settings,
    inputs: dict[str, Any],
    extraction: dict[str, Any],
    trials: list[dict[str, Any]],
    experiments: tuple[ExperimentResults, ...],
    unavailable: dict[str, str],
) -> dict[str, Any]:
    """The record of a run, without its backbones and timings.

    Args:
        settings: Settings of the run.
        inputs: Settings and options, as the record contains them.
        extraction: Record of the extraction.
        trials: Records of the SVM trials.
        experiments: All experiments of the run folder.
        unavailable: Backbones without weights, with the reason.
    """
    return {
        "schema_version": SCHEMA_VERSION,
        "fer_ray_version": __version__,
        **inputs,
        "versions": library_versions(),
        "seeds": {
            "neutral": settings.extract.selection.neutral_seed,
            "trials": settings.trials.seed,
        },
        "counts": extraction["counts"],
        "experiments": [summary_record(item.summary) for item in experiments],
        "verdict": _verdict(extraction, experiments),
        "late_cohorts": late_cohorts(extraction["data"], experiments),
        "warnings": [*_notes(settings, extraction["data"]), *_warnings(trials, unavailable)],
        "leakage": _audits(trials),
        "extract": extraction,
        "machine": machine(),
    }


def _verdict(
    extraction: dict[str, Any], experiments: tuple[ExperimentResults, ...]
) -> dict[str, str]:
    """The headline and the first sentence of the report."""
    verdict = derive_verdict(RunResults(pd.DataFrame(), extraction, experiments, {}))
    return {"headline": verdict.headline, "sentence": verdict.sentence}


def _notes(settings: Settings, data: dict[str, Any]) -> list[str]:
    if settings.protocol_settings(subjects_known(data)) == settings.protocol_settings():
        return []
    return [NO_SUBJECT_FOLDS.format(count=data["without_subject"])]


def _warnings(trials: list[dict[str, Any]], unavailable: dict[str, str]) -> list[str]:
    warnings = dict.fromkeys(warning for record in trials for warning in record["warnings"])
    return [
        *warnings,
        *(f"{name}: weights not available. {why}" for name, why in unavailable.items()),
    ]


def _audits(trials: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The leakage audit of each protocol, without the counts of each split."""
    audits = {record["leakage"]["protocol"]: record["leakage"] for record in trials}
    return [{k: v for k, v in audit.items() if k != "splits"} for audit in audits.values()]


def describe_timings(
    extraction: dict[str, Any], trials: list[dict[str, Any]], seconds: dict[str, float],
    total: float,
) -> dict[str, float]:  # fmt: skip
    """Seconds of each step, and in total."""
    return {
        "extract_seconds": extraction["timings"]["extract_seconds"],
        "backbones_seconds": round(seconds["backbones"], 3),
        "trials_seconds": round(sum(record["seconds"] for record in trials), 3),
        "report_seconds": round(seconds["report"], 3),
        "total_seconds": round(total, 3),
    }


def matches(
    record: dict[str, Any], inputs: dict[str, Any], summaries: list[ExperimentSummary]
) -> bool:
    """Return whether the record of a finished run has exactly these inputs and figures."""
    figures = json.loads(json.dumps([summary_record(summary) for summary in summaries]))
    expected = {**inputs, "settings": _defining(inputs["settings"]), "experiments": figures}
    actual = {**record, "settings": _defining(record.get("settings") or {})}
    return all(actual.get(name) == value for name, value in expected.items())


def _defining(settings: dict[str, Any]) -> dict[str, Any]:
    """Settings that define results, without those that tune execution."""
    return {name: part for name, part in settings.items() if name != "execution"}
