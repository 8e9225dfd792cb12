import io
import random
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from fer_ray.execution.progress import silent
from fer_ray.pipelines.sweep import run_sweep
from fer_ray.pipelines.sweeps.context import SweepRequest
from fer_ray.settings.root import Execution, Settings
from fer_ray.vocabulary import Status
from tests.pipelines.sweeps.conftest import FAST, rows

FORMATS = {"JPEG": "jpg", "PNG": "png", "WEBP": "webp", "BMP": "bmp", "TIFF": "tif", "GIF": "gif"}


def mutants(content: bytes, draw: random.Random) -> Iterator[bytes]:
    """Endless damaged copies: flipped bits, truncation, false headers, inserted bytes."""
    while True:
        changed = bytearray(content)
        for _ in range(draw.choice((1, 4, 16))):
            changed[draw.randrange(len(changed))] ^= 1 << draw.randrange(8)
        yield bytes(changed)
        yield content[: draw.randrange(len(content))]
        lying = bytearray(content)
        start = draw.randrange(min(48, len(lying) - 4))
        lying[start : start + 4] = draw.choice((b"\xff" * 4, b"\0" * 4, draw.randbytes(4)))
        yield bytes(lying)
        at = draw.randrange(len(content))
        yield content[:at] + draw.randbytes(draw.randrange(1, 64)) + content[at:]


@pytest.mark.slow
@pytest.mark.parametrize("each", [84, pytest.param(840, marks=pytest.mark.thorough)])
def test_damaged_files_have_one_row_each(local_ray: int, tmp_path: Path, each: int) -> None:
    """504 or 5,040 files in six formats."""
    draw, pixels = (
        random.Random(0),
        np.random.default_rng(0).integers(0, 256, (20, 20, 3), np.uint8),
    )
    source = tmp_path / "source"
    source.mkdir()
    for kind, suffix in FORMATS.items():
        encoded = io.BytesIO()
        Image.fromarray(pixels).save(encoded, kind)
        for number, content in zip(range(each), mutants(encoded.getvalue(), draw), strict=False):
            (source / f"{number}.{suffix}").write_bytes(content)
    settings = Settings(extract=FAST, execution=Execution(workers=2))
    manifest = run_sweep(SweepRequest(str(source), str(tmp_path / "store"), settings, silent))
    images = rows(tmp_path / "store", "images")
    assert len(images) == len({row["path"] for row in images}) == each * len(FORMATS)
    assert manifest["statuses"].keys() <= {Status.UNREADABLE, Status.TOO_LARGE, Status.NO_FACE}
    assert manifest["statuses"]["unreadable"] > len(images) / 5
    assert all(row["error"] for row in images if row["status"] != "no_face")
