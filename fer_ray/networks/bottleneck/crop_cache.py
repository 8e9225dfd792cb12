"""Face crops for the backbones, from the cache of the run folder or from the images.

The first backbone caches its crops, so further ones do not decode the images. Cached crops are not
results: missing or damaged ones are cropped from the images again.
"""

import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from fer_ray.errors import UserError
from fer_ray.faces.crops import recrop
from fer_ray.networks.bottleneck import augmentation
from fer_ray.settings.extraction import Decode
from fer_ray.settings.networks import Augmentation
from fer_ray.storage.parquet import read_table
from fer_ray.storage.staging import StagedRows

IMAGE_NUMBER = "usable_image"  # column: position of a row's image among the usable ones
Gray = NDArray[np.uint8]

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class CropSource:
    """Crops of the usable images of a run folder.

    Attributes:
        root: Folder that the images' `path` is relative to.
        decode: Decoding limits.
        size_px: Side of a crop in pixels.
        augmentation: Settings of the draws.
        cache: Cached crops, at the position `IMAGE_NUMBER`.
        spans: Files of the cache when the job began: first image, image after the last, file.
        writes: Whether new crops are cached.
    """

    root: Path
    decode: Decode
    size_px: int
    augmentation: Augmentation
    cache: StagedRows
    spans: tuple[tuple[int, int, Path], ...]
    writes: bool

    def crops(self, table: pa.Table) -> Gray:
        """The crops of rows (n, size_px, size_px) uint8, transformed by their draws.

        Args:
            table: Rows of `bottleneck_plan.usable_rows`.

        Raises:
            UserError: An image is missing, or has changed since the extraction.
        """
        rows = table.select(
            [IMAGE_NUMBER, "image_id", "path", "sha256", "box_xywh", "crop_angle", "draw"]
        )
        rows = rows.to_pylist()
        crops = self._read_cache(table[IMAGE_NUMBER].to_numpy())
        uncached = {row[IMAGE_NUMBER]: row for row in rows if row[IMAGE_NUMBER] not in crops}
        new = {number: self._crop(row) for number, row in uncached.items()}
        if self.writes and new:
            self._write_cache(new)
        crops |= new
        return np.stack([self._apply_draw(crops[row[IMAGE_NUMBER]], row) for row in rows])

    def _write_cache(self, crops: dict[int, Gray]) -> None:
        pixels = pa.array([crop.tobytes() for crop in crops.values()], pa.binary())
        try:
            self.cache.write_at(pa.table({"crop": pixels}), np.array(list(crops)))
        except OSError as problem:  # the disk may be full; features need far less space
            logger.warning("Cannot cache crops: %s", problem)

    def _read_cache(self, numbers: NDArray[np.int64]) -> dict[int, Gray]:
        crops: dict[int, Gray] = {}
        for start, stop, file in self.spans:
            inside = np.unique(numbers[(numbers >= start) & (numbers < stop)]).tolist()
            if not inside:
                continue
            try:
                pixels = read_table(file, columns=["crop"])["crop"]
                crops |= {at: self._pixels(pixels[at - start].as_buffer()) for at in inside}
            except (OSError, ValueError, IndexError, pa.ArrowException) as problem:
                logger.warning("Cannot read cached crops in %s, cropping again: %s", file, problem)
        return crops

    def _pixels(self, content: pa.Buffer) -> Gray:
        return np.frombuffer(content, np.uint8).reshape(self.size_px, self.size_px)

    def _crop(self, row: dict[str, Any]) -> Gray:
        try:
            return recrop(row, self.root, self.decode, self.size_px)
        except ValueError as problem:
            raise UserError(
                f"{self.root / row['path']} differs from the extracted image ({problem}). Pass the "
                "folder of the images with --data, or extract again with --fresh."
            ) from None

    def _apply_draw(self, crop: Gray, row: dict[str, Any]) -> Gray:
        if row["draw"] is None:
            return crop
        change = augmentation.draw(self.augmentation, row["image_id"], row["draw"])
        return augmentation.apply_to_crop(change, crop)
