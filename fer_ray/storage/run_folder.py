"""The layout of the folders that jobs write: every path and file name is defined here."""

from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any

from fer_ray.errors import UserError
from fer_ray.storage.files import read_json

LOCK = ".lock"  # locked by the operating system, on a disk
DRAWINGS = "show"  # folder of drawings, of a run folder and of predictions
LEASE = ".lease"  # of an object store, or of a disk without file locks


class RunFolder:
    """Paths of a run folder; nothing is read or created.

    Attributes:
        root: The folder itself.
        frames: Table of one row per selected image.
        frames_partial: Finished blocks of an extraction that is still running.
        frames_files: Path, size and time of the file of each row, to detect changes.
        extract_record: Settings, counts and fingerprint of `frames`.
        trials: One table of trials per experiment.
        trials_partial: Finished trials of experiments that are still running.
        trials_record: Warnings, leakage and timings of the last trials.
        predictions: One table of test predictions per experiment.
        searches: Candidates and record of each nested search.
        searches_partial: Finished work items of searches that are still running.
        crops: Face crops cached for further backbones.
        bottleneck: Bottleneck features, a table and a record per backbone.
        bottleneck_partial: Finished blocks of features that are still being computed.
        bottleneck_previous: Features of earlier frames, reused for images with the same content.
        heads: Network heads: model, card, learning curves and logs.
        occlusion: Regions that models on networks rely on.
        deep_record: Backbones of a run, and those whose weights are not available.
        label_issues: The labels, the most suspicious first.
        groups: Figures by group of people or images.
        groups_record: The same with the gaps between groups.
        report: The HTML page and its figures.
        drawings: Images with their faces drawn, by `fer-ray show`.
        run_record: Everything that a run did.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self.frames = root / "frames"
        self.frames_partial = root / "frames.partial"
        self.frames_files = root / "frames.files.parquet"
        self.extract_record = root / "extract.json"
        self.trials = root / "trials"
        self.trials_partial = root / "trials.partial"
        self.trials_record = root / "trials.json"
        self.predictions = root / "predictions"
        self.searches = root / "search"
        self.searches_partial = root / "search.partial"
        self.crops = root / "crops"
        self.bottleneck = root / "bottleneck"
        self.bottleneck_partial = root / "bottleneck.partial"
        self.bottleneck_previous = root / "bottleneck.previous"
        self.heads = root / "heads"
        self.occlusion = root / "occlusion"
        self.deep_record = root / "deep.json"
        self.label_issues = root / "label_issues.parquet"
        self.groups = root / "groups.parquet"
        self.groups_record = root / "groups.json"
        self.report = root / "report"
        self.drawings = root / DRAWINGS
        self.run_record = root / "run.json"

    def derived_from_frames(self) -> tuple[Path, ...]:
        """Everything that is invalid without the frames it was computed from."""
        return (
            *(self.run_record, self.trials_record, self.deep_record),
            *(self.label_issues, self.groups, self.groups_record, self.report),
            *(self.trials, self.trials_partial, self.predictions),
            *(self.searches, self.searches_partial),
            *(self.crops, self.bottleneck, self.bottleneck_partial),
            *(self.heads, self.occlusion, self.drawings),
        )

    def experiments(self) -> list[str]:
        """Names of the finished experiments, in the order of their files."""
        return [file.stem for file in sorted(self.trials.glob("*.parquet"))]

    def trials_of(self, experiment: str) -> Path:
        """The trials of an experiment, written last: it is finished if the file exists."""
        return self.trials / f"{experiment}.parquet"

    def predictions_of(self, experiment: str) -> Path:
        """The test predictions of an experiment."""
        return self.predictions / f"{experiment}.parquet"

    def candidates_of(self, search: str) -> Path:
        """The candidates that a nested search examined."""
        return self.searches / f"{search}.parquet"

    def search_record(self, search: str) -> Path:
        """Settings and choices of a nested search."""
        return self.searches / f"{search}.json"

    def head_of(self, experiment: str) -> Path:
        """The saved network head, in Keras's format."""
        return self.heads / f"{experiment}.keras"

    def head_card(self, experiment: str) -> Path:
        """Settings, inputs and figures of a saved head."""
        return self.heads / f"{experiment}.json"

    def head_history(self, experiment: str) -> Path:
        """Learning curves of all trials of a head."""
        return self.heads / f"{experiment}.history.parquet"

    def head_candidates(self, experiment: str) -> Path:
        """The configurations that a search for heads tried."""
        return self.heads / f"{experiment}.search.json"

    def head_logs(self, experiment: str) -> Path:
        """TensorBoard logs of a search for heads."""
        return self.heads / f"{experiment}.tensorboard"

    def occlusion_map(self, experiment: str) -> Path:
        """The regions that the model of an experiment relies on."""
        return self.occlusion / f"{experiment}.json"

    def histories(self) -> Iterator[tuple[str, Path]]:
        """Learning curves of all heads, by experiment."""
        ending = self.head_history("").name
        for file in sorted(self.heads.glob(f"*{ending}")):
            yield file.name.removesuffix(ending), file

    def search_logs(self) -> Iterator[tuple[str, Path]]:
        """TensorBoard logs of all searches for heads, by experiment."""
        ending = self.head_logs("").name
        for folder in self.heads.glob(f"*{ending}"):
            yield folder.name.removesuffix(ending), folder

    def files_of(self, experiment: str) -> tuple[Path, ...]:
        """Everything that belongs to one experiment, its trials last."""
        return (
            self.predictions_of(experiment),
            *(self.head_of(experiment), self.head_card(experiment), self.head_history(experiment)),
            *(self.head_candidates(experiment), self.head_logs(experiment)),
            *(self.candidates_of(experiment), self.search_record(experiment)),
            *(self.occlusion_map(experiment), self.trials_of(experiment)),
        )

    def bottleneck_table(self, table: str) -> Path:
        """Folder of a table of bottleneck features."""
        return self.bottleneck / table

    def bottleneck_record(self, table: str) -> Path:
        """Record of a table of bottleneck features."""
        return self.bottleneck / f"{table}.json"

    def previous_table(self, table: str) -> Path:
        """Folder of a table of bottleneck features of earlier frames."""
        return self.bottleneck_previous / table

    def previous_record(self, table: str) -> Path:
        """Record of a table of bottleneck features of earlier frames."""
        return self.bottleneck_previous / f"{table}.json"


class PredictionFolder:
    """Paths of the folder that `fer-ray predict` writes.

    Attributes:
        root: The folder itself.
        predictions: Table of one row per face, or per image without a face.
        predictions_partial: Finished blocks of a prediction that is still running.
        record: Bundle, counts and evaluation.
        report: The HTML page and its figures, if images are labelled.
        sheet: Contact sheet of the images with their predictions.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self.predictions = root / "predictions"
        self.predictions_partial = root / "predictions.partial"
        self.record = root / "predict.json"
        self.report = root / "report"
        self.sheet = root / "sheet.png"


class TransferFolder:
    """Paths of the folder that `fer-ray transfer` writes.

    Attributes:
        root: The folder itself.
        matrix: Figures of each training and test source.
        predictions: Test predictions of each cell of the matrix.
        partial: Finished folds of a matrix that is still being computed.
        record: Settings, sources and figures.
        report: The HTML page and its figure.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self.matrix = root / "transfer.parquet"
        self.predictions = root / "predictions.parquet"
        self.partial = root / "transfer.partial"
        self.record = root / "transfer.json"
        self.report = root / "report"


def drawing_of(out: Path, image_id: str) -> Path:
    """The drawing of an image, in a run folder or a folder of predictions."""
    return out / DRAWINGS / f"{image_id}.png"


def other_experiments(out: Path, shown: Collection[str]) -> list[str]:
    """Names of the finished experiments of a run folder except those in `shown`."""
    return [name for name in RunFolder(out).experiments() if name not in shown]


def extraction_record(out: Path) -> dict[str, Any] | None:
    """Read the record of an extraction, finished or not; None if it is missing or damaged."""
    record = read_json(RunFolder(out).extract_record)
    return record if record and {"fingerprint", "source_digest", "data"} <= set(record) else None


def finished_extraction(out: Path) -> dict[str, Any] | None:
    """Read the record of a finished extraction that still has all its rows; otherwise None."""
    from fer_ray.storage.parquet import rows_by_file  # pyarrow, which paths alone do not need

    record = extraction_record(out)
    if record is None or rows_by_file(RunFolder(out).frames) != record.get("files"):
        return None
    return record


def frames_record(out: Path) -> dict[str, Any]:
    """Read the record of a run folder's frames, `extract.json`.

    Raises:
        PermissionError: The user may not read one of its files or folders.
        UserError: The run folder has no finished frames, or they are damaged.
    """
    record = finished_extraction(out)
    if record is None:
        from fer_ray.storage.damage import require_readable  # imports pyarrow

        require_readable(out)
        raise UserError(
            f"{out} has no finished frames: run `fer-ray extract --data TREE --out {out}` first."
        )
    return record
