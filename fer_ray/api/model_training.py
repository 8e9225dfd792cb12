"""Training of a model on the features of a run folder."""

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from fer_ray.api.given_settings import GivenPath, GivenSettings, read_settings
from fer_ray.api.run_results import Run
from fer_ray.api.trained_model import Model
from fer_ray.errors import UserError
from fer_ray.execution.job import open_job
from fer_ray.execution.signals import sigterm_delivered_after
from fer_ray.settings.loading import build_settings
from fer_ray.storage.paths import to_path


def train(
    run: Run | GivenPath,
    features: str | None = None,
    settings: GivenSettings = None,
    *,
    experiment: str | None = None,
    strict: bool = False,
    progress: bool = True,
) -> "Model":
    """Fit a model on all images of a run folder, with the figures of its trials.

    Args:
        run: A run folder or its path.
        features: Feature set of a linear SVM, or a union such as `hog+landmarks`. Its trials run
            first, unless the run folder has them.
        settings: Settings of these trials, such as `{"trials.protocol": "subject-10fold"}` or
            `{"trials.kernels": ["rbf"]}`.
        experiment: Name of a finished experiment whose model to fit, instead of `features`.
        strict: Reject splits that share a subject, sequence or picture between training and test.
        progress: Show the progress on a terminal or in a notebook.

    Returns:
        The model. Without `features` and `experiment`: that of the best experiment of the run
        folder. `evidence` has the figures. `save` it to use it in another process.

    Raises:
        UserError: The run folder does not allow these trials, or an experiment cannot be used.

    Examples:
        >>> import fer_ray as fr
        >>> model = fr.train("runs/photos", features="reference")
        >>> model.evidence["experiment"], model.evidence["trials"]
        ('svm-linear-reference-random', 10)
    """
    from fer_ray.pipelines.training.make_bundle import make_bundle

    out = run.path if isinstance(run, Run) else to_path(run)
    folder = TemporaryDirectory(prefix="fer-ray-model-")
    with sigterm_delivered_after(), open_job(out, not progress) as display:
        if features is not None:
            experiment = _run_trials(out, features, settings, display, strict)
        with display("fit", "", 0):
            make_bundle(out, Path(folder.name) / "model", experiment)
    return Model(Path(folder.name) / "model", temporary=folder)


def _run_trials(out: Path, features: str, given: GivenSettings, display: Any, strict: bool) -> str:
    from fer_ray.pipelines.training.trials import run_trials

    tree = read_settings(given).model_dump(exclude_unset=True)
    kernels = tree.get("trials", {}).get("kernels", ("linear",))
    if len(kernels) != 1:
        raise UserError(
            f"A model has one kernel, not {len(kernels)}. Set trials.kernels to one of "
            f"{', '.join(kernels)}."
        )
    trials = {"trials.feature_set": features, "trials.kernels": kernels}
    settings = build_settings({**tree, **trials})
    record = run_trials(out, settings.trials, settings.execution, display, strict)
    (experiment,) = record["experiments"]
    return str(experiment)
