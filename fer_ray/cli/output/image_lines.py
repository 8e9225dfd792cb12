"""The lines of `fer-ray show`: the outcome of one image, and the answers of each model."""

from collections.abc import Iterator
from typing import Any

from fer_ray.cli.output.experiment_table import format_known

Row = dict[str, Any]
IMPROBABLE = (
    "An answer is not always the most probable class: an SVM calibrated by Platt's method decides "
    "by its scores, and over several trials the answer is the most frequent prediction, whereas "
    "probabilities are means."
)


def image_lines(found: Row) -> Iterator[str]:
    """Yield the lines about an image, from the result of `inspect_image`."""
    first = found["faces"][0]
    yield f"{found['image_id']}  ({found['path']})"
    yield f"label: {found['emotion'] or 'none'}, subject: {found['subject'] or 'unknown'}"
    size = f"{first['width']}×{first['height']} {first['mode']}" if first["width"] else "no size"
    yield f"image: {size}, SHA-256 {(first['sha256'] or 'unknown')[:16]}"
    for face in found["faces"]:
        yield from _face_lines(face)
    if found["answers"]:
        yield from _table(_answer_cells(found))
        if any(one["second_probability"] > one["probability"] for one in found["answers"]):
            yield IMPROBABLE
    else:
        yield "no model was tested on this image"
    yield f"drawing: {found['png']}" if found["png"] else f"no drawing: {found['no_png']}"


def _face_lines(face: Row) -> Iterator[str]:
    yield f"status: {face['status']}" + (f" ({face['error']})" if face["error"] else "")
    if face["box_xywh"] is None:
        return
    x, y, side, _ = face["box_xywh"]
    score = format_known(", score {:.2f}", face["detector_score"])
    turned = f", turned by {face['crop_angle']:.1f}°" if face["crop_angle"] else ""
    yield f"face: {side} px at x={x}, y={y}{turned}, found by {face['detector']}{score}"
    pose = format_known(
        ", yaw {:.0f}°, pitch {:.0f}°, roll {:.0f}°", face["yaw"], face["pitch"], face["roll"]
    )
    yield f"crop: sharpness {face['sharpness']:.0f}, brightness {face['brightness']:.0f}{pose}"


def _answer_cells(found: Row) -> list[tuple[str, ...]]:
    rows: list[tuple[str, ...]] = [("model", "tested", "correct", "answer", "p", "second", "p")]
    for answer in found["answers"]:
        known = found["emotion"] is not None
        rows.append(
            (
                answer["model"],
                str(answer["tested"]),
                str(answer["correct"]) if known else "",
                answer["answer"],
                f"{answer['probability']:.2f}",
                answer["second"],
                f"{answer['second_probability']:.2f}",
            )
        )
    return rows


def _table(rows: list[tuple[str, ...]]) -> Iterator[str]:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        cells = [f"{cell:{width}}" for cell, width in zip(row, widths, strict=True)]
        yield "  ".join(cells).rstrip()
