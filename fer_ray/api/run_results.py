"""The results of a run folder as pandas tables and NumPy arrays."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pyarrow as pa
from numpy.typing import NDArray

from fer_ray.api.given_settings import GivenPath
from fer_ray.errors import UserError, did_you_mean
from fer_ray.evaluation.experiments.results import read_experiments, require_experiment
from fer_ray.evaluation.experiments.summary import ExperimentSummary, summary_record
from fer_ray.features.step_columns import read_vectors
from fer_ray.storage.files import read_json
from fer_ray.storage.parquet import read_schema, read_table, table_files
from fer_ray.storage.paths import to_path
from fer_ray.storage.run_folder import RunFolder, frames_record
from fer_ray.vocabulary import EMOTIONS

if TYPE_CHECKING:
    from fer_ray.evaluation.comparison import Comparison

SCALARS = (
    *("experiment", "classifier", "feature_set", "protocol", "trials", "images", "subjects"),
    *("test_accuracy", "test_accuracy_sd", "train_accuracy", "macro_recall", "macro_f1"),
    *("test_log_loss", "calibration_error", "test_subject_in_train"),
)


def open_run(path: GivenPath) -> "Run":
    """Open a run folder that `fer_ray.run` or `fer-ray run` has written.

    Args:
        path: Path of the folder, or its URI in an object store.

    Raises:
        UserError: The folder has no finished frames.

    Examples:
        >>> import fer_ray as fr
        >>> fr.open_run("runs/photos")
        Run('runs/photos', 80 images, 2 experiments)
    """
    return Run(path)


class Run:
    """The results in a run folder; each access reads what the folder contains at that time.

    Args:
        path: Path of the folder, or its URI in an object store.

    Attributes:
        path: The folder.

    Raises:
        UserError: The folder has no finished frames.

    Examples:
        >>> import fer_ray as fr
        >>> run = fr.open_run("runs/photos")
        >>> first = run.experiments[0]
        >>> first
        'svm-linear-reference-random'
        >>> [*run.predictions(first).columns[:6]]
        ['trial', 'image_id', 'subject', 'emotion', 'predicted', 'p_neutral']
        >>> run.array("landmarks_xy").shape
        (80, 136)
    """

    def __init__(self, path: GivenPath) -> None:
        self.path = to_path(path)
        self._given = str(path)
        frames_record(self.path)

    def __repr__(self) -> str:
        images, count = sum(self.record["counts"].values()), len(self.experiments)
        return f"Run({self._given!r}, {images} images, {count} experiments)"

    @property
    def record(self) -> dict[str, Any]:
        """The record of the run (`run.json`); of the extraction if the run is not finished."""
        return read_json(RunFolder(self.path).run_record) or frames_record(self.path)

    @property
    def frames(self) -> pd.DataFrame:
        """One row per selected image: label, status, box, landmarks and features.

        Vectors are NumPy arrays in cells; `array` stacks a column of them.
        """
        table: pd.DataFrame = read_table(RunFolder(self.path).frames).to_pandas()
        return table

    def array(self, column: str) -> NDArray[Any]:
        """Stack a vector column of `frames`, such as `landmarks_xy` or `features_hog`.

        Args:
            column: Name of the column.

        Returns:
            (n, width) with a row for each row of `frames`, float32; NaN for images without a
            vector.

        Raises:
            UserError: `frames` has no such vector column.
        """
        folder = RunFolder(self.path).frames
        schema = read_schema(table_files(folder)[0])
        vectors = [field.name for field in schema if pa.types.is_fixed_size_list(field.type)]
        if column not in vectors:
            names = ", ".join(vectors)
            raise UserError(
                f"The frames have no vector column {column}.{did_you_mean(column, vectors)} "
                f"Pass one of {names}."
            )
        values = read_table(folder, columns=[column])[column]
        array = read_vectors(values).astype(np.float32)
        array[values.is_null().to_numpy()] = np.nan
        return array

    @property
    def experiments(self) -> list[str]:
        """Names of the finished experiments."""
        return RunFolder(self.path).experiments()

    @property
    def summary(self) -> pd.DataFrame:
        """One row per experiment, grouped by protocol, the most accurate first.

        `interval_low` and `interval_high` are the ends of the 95% interval of `test_accuracy`,
        computed by `interval_method`. `recall_<emotion>` is NaN for emotions that were not tested.
        """
        rows = [_summary_row(item.summary) for item in read_experiments(self.path)]
        table = pd.DataFrame(rows, columns=[*rows[0]] if rows else list(SCALARS))
        order = ["protocol", "test_accuracy", "experiment"]
        return table.sort_values(order, ascending=[True, False, True], ignore_index=True)

    def predictions(self, experiment: str) -> pd.DataFrame:
        """Read the test predictions of an experiment.

        Args:
            experiment: Its name, one of `experiments`.

        Returns:
            One row per trial and test image: `trial`, `image_id`, `subject`, `emotion` (the
            label), `predicted`, and `p_<emotion>` with the probability of each emotion.

        Raises:
            UserError: The run folder has no such experiment.
        """
        require_experiment(experiment, self.experiments)
        (item,) = read_experiments(self.path, experiment)
        table = item.predictions
        probabilities = np.stack(table["probabilities"].to_list())
        names = np.array(EMOTIONS)
        return pd.DataFrame(
            {
                **{name: table[name] for name in ("trial", "image_id", "subject")},
                "emotion": names[table["label"].to_numpy()],
                "predicted": names[table["predicted"].to_numpy()],
                **{f"p_{name}": probabilities[:, code] for code, name in enumerate(EMOTIONS)},
            }
        )

    def compare(self, first: str, second: str) -> "Comparison":
        """Compare two experiments on the images that both tested: is the first one better?

        Args:
            first: Name of an experiment.
            second: Name of another experiment.

        Returns:
            The paired difference in accuracy with its 95% interval and p-value.

        Raises:
            UserError: There is no such experiment, or no image was tested by both.
        """
        from fer_ray.evaluation.comparison import compare_by_name

        return compare_by_name(read_experiments(self.path), first, second)

    @property
    def report(self) -> Path:
        """Path of the report's HTML page.

        Raises:
            UserError: The report has not been written.
        """
        page = RunFolder(self.path).report / "index.html"
        if not page.is_file():
            raise UserError(f"{self.path} has no report: run `fer-ray report --out {self.path}`.")
        return page


def _summary_row(summary: ExperimentSummary) -> dict[str, Any]:
    record = summary_record(summary)
    low, high = record["interval_95"]
    recalls = {name: recall["recall"] for name, recall in record["recall_by_class"].items()}
    return {
        **{name: record[name] for name in SCALARS},
        **{"interval_low": low, "interval_high": high},
        "interval_method": record["interval_method"],
        **{f"recall_{name}": recalls.get(name, np.nan) for name in EMOTIONS},
    }
