"""The face crops that networks take: kept ones of the run folder, or cut from the images. No Ray.

Whatever network comes first keeps what it cuts, and the others need not decode the images again.
Kept crops are a convenience and no result: what is lacking or cannot be read is cut once more.
"""

import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from fer_ray.errors import UserError
from fer_ray.faces.crops import cut_again
from fer_ray.networks import augmentation
from fer_ray.settings.extraction import Decode
from fer_ray.settings.networks import Augmentation
from fer_ray.storage.parquet import read_table
from fer_ray.storage.staging import StagedRows

AT = "usable_image"  # position of a row's image among the usable ones
Gray = NDArray[np.uint8]

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class CropSource:
    """Crops of the usable images of a run folder.

    Attributes:
        root: Folder that the images' `path` is relative to.
        decode: What may be decoded.
        size_px: Side of a crop.
        augmentation: How draws of a crop are changed.
        kept: Where crops are kept, by `AT`.
        spans: Of those that were there when the job began: first, after the last, file.
        keeping: Whether crops that are cut are kept.
    """

    root: Path
    decode: Decode
    size_px: int
    augmentation: Augmentation
    kept: StagedRows
    spans: tuple[tuple[int, int, Path], ...]
    keeping: bool

    def crops(self, table: pa.Table) -> Gray:
        """The crops of some rows, (n, size_px, size_px) uint8, changed by their draws.

        Args:
            table: `bottleneck.usable_rows`, in their order.

        Raises:
            UserError: An image is gone or is another since the frames were made.
        """
        rows = table.select([AT, "image_id", "path", "sha256", "box_xywh", "draw"]).to_pylist()
        there = self._kept(table[AT].to_numpy())
        cut = {row[AT]: row for row in rows if row[AT] not in there}
        there |= {at: self._cut(row) for at, row in cut.items()}
        if self.keeping and cut:
            self._keep({at: there[at] for at in cut})
        return np.stack([self._drawn(there[row[AT]], row) for row in rows])

    def _keep(self, cut: dict[int, Gray]) -> None:
        pixels = pa.array([crop.tobytes() for crop in cut.values()], pa.binary())
        try:
            self.kept.write_at(pa.table({"crop": pixels}), np.array(list(cut)))
        except OSError as problem:  # the disk may be full: features take far less
            logger.warning("Crops are not kept: %s", problem)

    def _kept(self, wanted: NDArray[np.int64]) -> dict[int, Gray]:
        found: dict[int, Gray] = {}
        for start, stop, file in self.spans:
            inside = np.unique(wanted[(wanted >= start) & (wanted < stop)]).tolist()
            if not inside:
                continue
            try:
                pixels = read_table(file, columns=["crop"])["crop"]
                found |= {at: self._pixels(pixels[at - start].as_buffer()) for at in inside}
            except (OSError, ValueError, IndexError, pa.ArrowException) as problem:
                logger.warning("%s is cut again: %s", file, problem)
        return found

    def _pixels(self, content: pa.Buffer) -> Gray:
        return np.frombuffer(content, np.uint8).reshape(self.size_px, self.size_px)

    def _cut(self, row: dict[str, Any]) -> Gray:
        try:
            return cut_again(row, self.root, self.decode, self.size_px)
        except ValueError as problem:
            raise UserError(
                f"{self.root / row['path']} is not what the frames were made from ({problem}). Say "
                "with --data where the images lie now, or extract again with --fresh."
            ) from None

    def _drawn(self, crop: Gray, row: dict[str, Any]) -> Gray:
        if row["draw"] is None:
            return crop
        how = augmentation.draw(self.augmentation, row["image_id"], row["draw"])
        return augmentation.apply_to_crop(how, crop)
