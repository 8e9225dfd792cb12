"""`fer-ray report`: the report of a run folder."""

from collections.abc import Sequence
from pathlib import Path

from fer_ray.errors import UserError
from fer_ray.storage.paths import to_path
from fer_ray.storage.run_folder import RunFolder, frames_record


def run_report(
    out: Path, source: Path | None, show_faces: bool, groups: Sequence[str] = ()
) -> Path:
    """Write `out/report` from the contents of the run folder, and return its page.

    Args:
        out: Run folder, locked by the caller.
        source: Folder of the images. None: the folder at the time of the extraction.
        show_faces: Show faces in the report.
        groups: Further columns of the labels file to compare groups by; none: as compared before.

    Raises:
        UserError: There are no finished frames or no trials, or no such columns.
    """
    record = frames_record(out)
    if not RunFolder(out).experiments():
        raise UserError(f"{out} has no trials: run `fer-ray trials --out {out}` first.")
    from fer_ray.pipelines.audit.compare_groups import compare_groups
    from fer_ray.pipelines.audit.occlusion_maps import occlusion_map
    from fer_ray.report.run_page import write_report

    if groups:
        compare_groups(out, groups)
    root = source if source is not None else to_path(record["data"]["root"])
    images = root if root.is_dir() else None
    return write_report(out, images, show_faces, occlusion_map(out, images))
