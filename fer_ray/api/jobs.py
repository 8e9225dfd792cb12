"""The jobs of the command line as functions: run, predict, sweep, and the synthetic corpus."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from fer_ray.api.given_settings import GivenPath, GivenSettings, read_settings
from fer_ray.execution.job import open_display_of_job, open_job
from fer_ray.execution.signals import sigterm_delivered_after
from fer_ray.settings.extraction import Faces
from fer_ray.settings.root import Profile
from fer_ray.storage.paths import to_path

if TYPE_CHECKING:  # pandas and the readers of results, which a job loads when it needs them
    from collections.abc import Mapping, Sequence

    import pandas as pd

    from fer_ray.api.run_results import Run


def run(
    data: GivenPath,
    out: GivenPath,
    profile: Profile | None = None,
    settings: GivenSettings = None,
    *,
    show_faces: bool = False,
    fresh: bool = False,
    strict: bool = False,
    progress: bool = True,
) -> "Run":
    """Run the complete job, like `fer-ray run`: extract features, run all trials, write the report.

    Finished steps are not repeated, and an interrupted job resumes where it stopped.

    Args:
        data: A CK+ tree; a folder of images, in folders named after emotions or with a
            `labels.csv`; or a CSV file. A path, or a URI in an object store.
        out: Run folder, created if necessary. A path, or a URI in an object store.
        profile: Named set of values for several settings: `reference`, `fast` or `mesh`.
        settings: Any settings: values by name, such as `{"trials.protocol": "subject-10fold"}`,
            a `Settings` object, or the path of a YAML file.
        show_faces: Show faces of the data in the report.
        fresh: Replace the results of other settings or images in `out`.
        strict: Reject splits that share a subject, sequence or picture between training and test.
        progress: Show the progress on a terminal or in a notebook.

    Returns:
        The results.

    Raises:
        UserError: Something is missing or invalid, or there is nothing to train on.
        MismatchError: `out` contains results of other settings or images, and `fresh` is not set.

    Examples:
        >>> import fer_ray as fr
        >>> run = fr.run("photos", out="runs/photos", profile="fast")
        >>> run.summary[["experiment", "trials"]]
                            experiment  trials
        0  svm-linear-reference-random      10
        1    svm-poly-reference-random      10
        >>> run.report.name
        'index.html'
    """
    chosen, source, folder = read_settings(settings, profile), to_path(data), to_path(out)
    with sigterm_delivered_after(), open_job(folder, not progress, create=True) as display:
        from fer_ray.pipelines.run import run_all

        run_all(source, folder, chosen, display, show_faces, fresh, strict)
    from fer_ray.api.run_results import Run

    return Run(out)


def predict(
    model: GivenPath,
    images: "GivenPath | Sequence[GivenPath]",
    out: GivenPath,
    faces: Faces = "one",
    settings: GivenSettings = None,
    *,
    weights: "Mapping[str, GivenPath] | None" = None,
    landmark_file: GivenPath | None = None,
    fresh: bool = False,
    progress: bool = True,
) -> "pd.DataFrame":
    """Predict many images with a saved model, like `fer-ray predict`.

    The job uses all CPUs, can be resumed, and isolates each image in a child process. For a few
    images, `Model.predict` is faster.

    Args:
        model: Folder of the model.
        images: Image files, folders or CSV files, or a list of them.
        out: Folder of the results, created if necessary.
        faces: Which faces of an image get a row: `one`, `largest`, `all` or `whole`.
        settings: Settings of `execution`, `extract.selection` and `predict`, such as
            `{"execution.workers": 4, "predict.abstain_below": 0.8}`.
        weights: Files of weights by backbone, instead of the defaults.
        landmark_file: File of the landmark model, instead of the default.
        fresh: Replace other predictions in `out`.
        progress: Show the progress on a terminal or in a notebook.

    Returns:
        One row per face, or one row for an image without a face. `out` has the same rows as
        Parquet, and the figures of an evaluation if images are labelled.

    Raises:
        UserError: The model cannot be used, or images are missing.
        MismatchError: `out` contains other predictions, and `fresh` is not set.

    Examples:
        >>> import fer_ray as fr
        >>> rows = fr.predict("models/photos", ["face.png", "wall.png"], out="runs/two")
        >>> rows[["path", "status", "predicted"]]
               path   status predicted
        0  face.png       ok  surprise
        1  wall.png  no_face       NaN
    """
    paths = [images] if isinstance(images, str | Path) else [*images]
    chosen, folder = read_settings(settings), to_path(out)
    overrides = tuple((name, str(file)) for name, file in (weights or {}).items())
    with sigterm_delivered_after(), open_job(folder, not progress, create=True) as display:
        from fer_ray.pipelines.prediction.predict import run_predict
        from fer_ray.storage.parquet import read_table
        from fer_ray.storage.run_folder import PredictionFolder

        run_predict(
            to_path(model), [to_path(path) for path in paths], folder, chosen.execution, display,
            chosen.extract.selection, None if landmark_file is None else str(landmark_file),
            overrides, faces, fresh, abstain_below=chosen.predict.abstain_below,
        )  # fmt: skip
        rows: pd.DataFrame = read_table(PredictionFolder(folder).predictions).to_pandas()
    return rows


def sweep(
    source: str,
    store: str,
    profile: Profile | None = None,
    settings: GivenSettings = None,
    *,
    model: GivenPath | None = None,
    weights: "Mapping[str, GivenPath] | None" = None,
    progress: bool = True,
) -> dict[str, Any]:
    """Update a store from a growing source of images, like `fer-ray sweep`.

    Args:
        source: Path or URI of the images.
        store: Path or URI of the store, which is created if it does not exist.
        profile: Named set of values for several settings.
        settings: Any settings: values by name, a `Settings` object, or the path of a YAML file.
        model: Folder of a model that adds predictions.
        weights: Files of weights by backbone of the model, instead of the defaults.
        progress: Show the progress on a terminal or in a notebook.

    Returns:
        The manifest of the sweep. If its `exit_code` is not 0, `problem` is the reason: results
        are published, but more images failed than `sweep.max_error_share` allows.

    Raises:
        UserError: The source or the store cannot be used, or a model is missing.

    Examples:
        >>> import fer_ray as fr
        >>> manifest = fr.sweep("dump", "store", profile="fast")
        >>> manifest["statuses"]
        {'no_face': 1, 'ok': 1}
    """
    from fer_ray.execution.cluster.session import ray_closed_after

    overrides = tuple((name, str(file)) for name, file in (weights or {}).items())
    chosen = read_settings(settings, profile)
    with (
        sigterm_delivered_after(),
        open_display_of_job(not progress) as display,
        ray_closed_after(),
    ):
        from fer_ray.pipelines.sweep import run_sweep
        from fer_ray.pipelines.sweeps.context import SweepRequest

        bundle = None if model is None else to_path(model)
        return run_sweep(SweepRequest(source, store, chosen, display, bundle, overrides))


def generate_corpus(
    out: GivenPath, subjects: int = 60, seed: int = 2010, *, progress: bool = True
) -> Path:
    """Generate the synthetic corpus, like `fer-ray synth`: faces in the layout of CK+.

    Args:
        out: Folder that does not exist, is empty, or contains this corpus.
        subjects: Number of synthetic people.
        seed: Seed of the corpus.
        progress: Show the progress on a terminal or in a notebook.

    Returns:
        The folder.

    Raises:
        UserError: `out` contains something else, or cannot be written.

    Examples:
        >>> import fer_ray as fr
        >>> fr.generate_corpus("corpus", subjects=1).name
        'corpus'
    """
    folder = to_path(out)
    with open_display_of_job(not progress) as display:
        from fer_ray.storage.files import local_folder
        from fer_ray.synthetic import corpus

        total = corpus.count_frames(subjects, seed)
        with local_folder(folder) as local, display("generate", "frames", total) as advance:
            corpus.generate_corpus(local, subjects, seed, on_frame=advance)
    return folder
