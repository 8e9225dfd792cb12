import pyarrow as pa

from fer_ray.features.face_rows import face_id, number_faces, one_row_per_image


def test_one_row_per_image() -> None:
    table = pa.table(
        {
            "image_id": ["a", "b", "b", "b", "c", "c", "d"],
            "face_index": [0, 0, 1, 2, 0, 1, 0],
            "status": [
                *("ok", "no_landmarks", "ok_by_box", "ok"),
                *("no_landmarks", "no_landmarks", "unreadable"),
            ],
        }
    )
    images = one_row_per_image(table)
    assert images["image_id"].to_pylist() == ["a", "b", "c", "d"]
    assert images["face_index"].to_pylist() == [0, 1, 0, 0]
    assert images["faces"].to_pylist() == [1, 2, 0, 0]


def test_faces_are_numbered_and_identified() -> None:
    boxes = [[1, 2, 30, 30], [5, 6, 20, 20], None]
    faces = number_faces(
        pa.table({"image": [0, 0, 1], "sha256": [*["a" * 64] * 2, "b" * 64], "box_xywh": boxes})
    )
    assert faces["face_index"].to_pylist() == [0, 1, 0]
    assert faces["face_id"].to_pylist() == [
        f"{'a' * 32}-1-2-30-30",
        f"{'a' * 32}-5-6-20-20",
        None,
    ]
    assert face_id("a" * 64, None) is None
