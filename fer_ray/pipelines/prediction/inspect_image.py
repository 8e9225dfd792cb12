"""`fer-ray show`: one image's outcome, its drawing, and the answers of each model."""

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from fer_ray.errors import UserError
from fer_ray.settings.extraction import ExtractSettings
from fer_ray.storage.files import read_json
from fer_ray.storage.parquet import read_schema, read_table, table_files
from fer_ray.storage.paths import to_path
from fer_ray.storage.run_folder import PredictionFolder, RunFolder, drawing_of, frames_record
from fer_ray.vocabulary import EMOTIONS

MAX_NAMES = 5  # names that a message lists
LABEL_COLUMNS = ("image_id", "path", "subject", "emotion")
FACE_COLUMNS = (
    *("face_index", "status", "stage", "error", "sha256", "mode", "width", "height", "detector"),
    *("detector_score", "box_xywh", "crop_angle", "other_faces", "sharpness", "brightness"),
    *("landmark_faces", "landmarks_xy", "yaw", "pitch", "roll"),
)


def inspect_image(out: Path, name: str, source: Path | None, png: Path | None) -> dict[str, Any]:
    """Collect what a run folder, or the results of a prediction, say about one image.

    Args:
        out: The folder.
        name: Path of the image, or its image_id.
        source: Where the images are now. None: where they were at the time of the job.
        png: File of the drawing. None: `show/IMAGE.png` in `out`.

    Returns:
        Label and paths; `faces`, one row per face; `answers`, one per model; and `png`, None with
        the reason in `no_png` if the image cannot be drawn.

    Raises:
        UserError: The folder has no results, or `name` is none or several of its images.
    """
    record, rows = _read_record(out), _rows_folder(out)
    root = source or to_path(record["data"]["root"])
    image_id = _find_image(rows, name, root)
    table = _rows_of(rows, image_id)
    faces = table.select([c for c in FACE_COLUMNS if c in table.column_names]).to_pylist()
    first = table.slice(0, 1).to_pylist()[0]
    settings = ExtractSettings.model_validate(record["settings"])
    target = png or drawing_of(out, image_id)
    problem = _draw(root / first["path"], faces, settings, target)
    return {
        **{column: first[column] for column in LABEL_COLUMNS},
        "faces": faces,
        "answers": _answers(out, image_id, table, first["emotion"]),
        "png": None if problem else str(target),
        "no_png": problem,
    }


def _read_record(out: Path) -> dict[str, Any]:
    if (record := read_json(PredictionFolder(out).record)) is not None:
        return record
    return frames_record(out)


def _rows_folder(out: Path) -> Path:
    if PredictionFolder(out).record.is_file():
        return PredictionFolder(out).predictions
    return RunFolder(out).frames


def _find_image(rows: Path, name: str, root: Path) -> str:
    """The image_id of the image with a name: its ID, its path, or the end of its path."""
    table = read_table(rows, columns=["image_id", "path"])
    ids: dict[str, str] = dict(
        zip(table["image_id"].to_pylist(), table["path"].to_pylist(), strict=True)
    )
    if name in ids:
        return name
    given = to_path(name)
    relative = given.relative_to(root).as_posix() if given.is_relative_to(root) else name
    exact = [image_id for image_id, path in ids.items() if path in (name, relative)]
    ends = [image_id for image_id, path in ids.items() if f"/{path}".endswith(f"/{name}")]
    found = exact or ends
    if len(found) == 1:
        return found[0]
    if found:
        names = ", ".join(ids[image_id] for image_id in found[:MAX_NAMES])
        raise UserError(f"{name} could be one of {len(found)} images: {names}. Pass a longer path.")
    examples = ", ".join([*ids][:MAX_NAMES])
    if given.is_file():
        raise UserError(
            f"{name} was not selected: {rows} has rows of {len(ids)} other images, such as "
            f"{examples}. --frames and the labels of a source determine which images are selected."
        )
    raise UserError(
        f"{name} is not one of the {len(ids)} images in {rows}. Pass a path or an image_id, such "
        f"as {examples}."
    )


def _rows_of(rows: Path, image_id: str) -> pa.Table:
    names = read_schema(table_files(rows)[0]).names
    columns = [name for name in names if not name.startswith("features_")]
    return read_table(rows, columns=columns, filters=pc.field("image_id") == image_id)


def _answers(out: Path, image_id: str, rows: pa.Table, emotion: str | None) -> list[dict[str, Any]]:
    if "predicted" in rows.column_names:
        return [_answer_of_row(row, emotion) for row in rows.to_pylist() if row["predicted"]]
    run, answers = RunFolder(out), []
    for name in run.experiments():
        file = run.predictions_of(name)
        tested = read_table(file, filters=pc.field("image_id") == image_id).to_pandas()
        if len(tested):
            means = np.stack(tested["probabilities"].to_list()).mean(axis=0)
            answer = EMOTIONS[tested["predicted"].mode().iloc[0]]
            correct = int((tested["predicted"] == tested["label"]).sum())
            by_name = dict(zip(EMOTIONS, means.tolist(), strict=True))
            answers.append(_answer(name, len(tested), correct, answer, by_name))
    return answers


def _answer_of_row(row: dict[str, Any], emotion: str | None) -> dict[str, Any]:
    """The answer of the model of a prediction for one face."""
    probabilities = {name: row[f"p_{name}"] for name in EMOTIONS if f"p_{name}" in row}
    model = f"bundle {row['bundle_sha256'][:12]}, face {row['face_index']}"
    return _answer(model, 1, int(row["predicted"] == emotion), row["predicted"], probabilities)


def _answer(
    model: str, tested: int, correct: int, answer: str, probabilities: dict[str, float]
) -> dict[str, Any]:
    others = {name: p for name, p in probabilities.items() if name != answer}
    second = max(others, key=lambda name: others[name])
    return {
        "model": model,
        "tested": tested,
        "correct": correct,
        "answer": answer,
        "probability": probabilities[answer],
        "second": second,
        "second_probability": others[second],
        "probabilities": probabilities,
    }


def _draw(
    image: Path, faces: list[dict[str, Any]], settings: ExtractSettings, target: Path
) -> str | None:
    """Write the drawing; return why it could not be written, or None."""
    from fer_ray.report.figures.marked_image import draw_faces
    from fer_ray.sources.decoding import decode_file

    full_size = settings.decode.model_copy(update={"reduce_to_px": 0})
    decoded = decode_file(image, full_size)
    if decoded.gray is None:
        return f"{image}: {decoded.error}"
    if decoded.sha256 != faces[0]["sha256"]:
        return f"the content of {image} has changed"
    draw_faces(decoded.gray, faces, settings.crop.size_px, target)
    return None
