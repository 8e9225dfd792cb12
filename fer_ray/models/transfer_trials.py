"""The folds of a transfer matrix, as work items that workers perform."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
from numpy.typing import NDArray

from fer_ray.evaluation.experiments.experiment import chosen_calibration
from fer_ray.evaluation.experiments.samples import Samples
from fer_ray.evaluation.experiments.trial_store import TrialResult
from fer_ray.evaluation.protocols.splits import Split
from fer_ray.evaluation.transfer_cells import TransferCell, TransferSource
from fer_ray.evaluation.transfer_figures import TRANSFER_PREDICTIONS_SCHEMA
from fer_ray.settings.training import TrialSettings
from fer_ray.storage.files import require_visible
from fer_ray.storage.parquet import read_table, write_table
from fer_ray.vocabulary import EMOTIONS

WorkItem = tuple[int, int]  # a cell and one of its splits


@dataclass(frozen=True)
class TransferTrials:
    """The folds of all cells, for a worker: call it with a fold to run and store it.

    Attributes:
        sources: All sources.
        cells: The planned cells.
        copies: Features of augmented copies (copies, n, width) of the images of each training
            source; empty without augmentation.
        settings: Kernel and parameters of the SVM.
        partial: Folder of finished folds, the same path on every node.
    """

    sources: list[TransferSource]
    cells: list[TransferCell]
    copies: dict[int, NDArray[np.float64]]
    settings: TrialSettings
    partial: Path

    def __call__(self, item: WorkItem) -> None:
        """Run one fold of a cell, and store its predictions."""
        from fer_ray.models.penalty import with_chosen_penalty
        from fer_ray.models.svm_trials import run_trial

        cell, split = self.cells[item[0]], self.cells[item[0]].splits[item[1]]
        numbers = dict.fromkeys((cell.train, cell.test))  # once for folds of a source
        samples = _join([self.sources[number].samples for number in numbers])
        copies = self.copies.get(cell.train)
        result = run_trial(
            self.settings.kernels[0],
            with_chosen_penalty(self.settings, samples, split.train, copies),
            chosen_calibration(self.settings, cell.protocol),
            samples,
            split,
            copies,
        )
        self.partial.mkdir(parents=True, exist_ok=True)
        write_table(self._table(cell, split, item[1], result), self._file(item))

    def missing(self) -> list[WorkItem]:
        """Folds without a stored result."""
        return [item for item in self._items() if not self._file(item).is_file()]

    def predictions(self) -> list[pd.DataFrame]:
        """Read the predictions of each cell.

        Raises:
            UserError: Not all folds are visible. The visible ones remain.
        """
        items = self._items()
        require_visible(len(self.missing()), len(items), "folds", self.partial)
        tables = [
            [read_table(self._file(item)) for item in items if item[0] == number]
            for number in range(len(self.cells))
        ]
        empty = TRANSFER_PREDICTIONS_SCHEMA.empty_table()
        return [pa.concat_tables(parts or [empty]).to_pandas() for parts in tables]

    def _items(self) -> list[WorkItem]:
        return [
            (number, fold)
            for number, cell in enumerate(self.cells)
            for fold in range(len(cell.splits))
        ]

    def _file(self, item: WorkItem) -> Path:
        return self.partial / f"{item[0]:04d}-{item[1]:04d}.parquet"

    def _table(self, cell: TransferCell, split: Split, fold: int, result: TrialResult) -> pa.Table:
        train, test = self.sources[cell.train], self.sources[cell.test]
        rows = split.test if cell.is_own else split.test - len(train.samples.labels)
        flat = pa.array(result.probabilities.astype(np.float32).ravel())
        columns = {
            "train": [train.name] * len(rows),
            "test": [test.name] * len(rows),
            "subject": [test.samples.subjects[row] for row in rows],
            "trial": [fold] * len(rows),
            "image_id": [test.samples.image_ids[row] for row in rows],
            "label": test.samples.labels[rows],
            "predicted": result.predicted,
            "probabilities": pa.FixedSizeListArray.from_arrays(flat, len(EMOTIONS)),
        }
        return pa.table(columns).cast(TRANSFER_PREDICTIONS_SCHEMA)


def _join(samples: list[Samples]) -> Samples:
    """The samples of several sources, one source after another."""
    return Samples(
        [name for one in samples for name in one.image_ids],
        [name for one in samples for name in one.subjects],
        np.concatenate([one.labels for one in samples]),
        np.concatenate([one.features for one in samples]),
    )
