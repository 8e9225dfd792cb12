"""A working directory with what the examples of the documentation name."""

import shutil
from pathlib import Path

import cv2
import numpy as np
import pandas as pd


def prepare_workplace(folder: Path, corpus: Path, run_dir: Path, bundle: Path) -> None:
    """Add `photos`, `dump`, `face.png`, `wall.png`, `runs/photos` and `models/photos`.

    The run folder is a copy, since examples add experiments to it.
    """
    for name in ("runs", "models", "dump"):
        (folder / name).mkdir(exist_ok=True)
    (folder / "photos").symlink_to(corpus)
    (folder / "models" / "photos").symlink_to(bundle)
    shutil.copytree(run_dir, folder / "runs" / "photos")
    frames = pd.read_parquet(run_dir / "frames", columns=["path", "emotion", "status"])
    face = frames.query("emotion == 'surprise' and status == 'ok'")["path"].iloc[0]
    shutil.copy(corpus / face, folder / "face.png")
    cv2.imwrite(str(folder / "wall.png"), np.full((90, 90), 99, np.uint8))
    for name in ("face.png", "wall.png"):
        shutil.copy(folder / name, folder / "dump")
