"""What a file contains that is not an image: often it explains where the file came from."""

HEIF_BRANDS = (b"heic", b"heix", b"hevc", b"hevx", b"heim", b"heis", b"mif1", b"msf1")
SIGNATURES = (
    (b"version https://git-lfs", "a pointer of Git LFS: fetch the file with git lfs pull"),
    (b"%PDF", "a PDF document"),
    (b"PK\x03\x04", "a ZIP archive"),
    (b"\x1f\x8b", "a gzip archive"),
    (b"8BPS", "a Photoshop document"),
    (b"\x1aE\xdf\xa3", "a video"),
    (b"#?RADIANCE", "a Radiance image, which cannot be decoded: convert it to PNG"),
    (b"v/1\x01", "an OpenEXR image, which cannot be decoded: convert it to PNG"),
    (b"data:image", "an image as a data URL"),
)


def describe_content(content: bytes) -> str | None:
    """What bytes that are not an image contain, judging by how they begin.

    Args:
        content: A file that no decoder recognises; not empty.

    Returns:
        A phrase such as `an HTML page`; None if the content is unknown.

    Examples:
        >>> describe_content(b"<!DOCTYPE html><title>404</title>")
        'an HTML or XML page'
    """
    start = content[:512].lstrip(b"\xef\xbb\xbf \t\r\n")
    if not content.strip(b"\0"):
        return "only zeros, as after an interrupted copy"
    if start[4:8] == b"ftyp":
        heif = start[8:12] in HEIF_BRANDS
        return "HEIC, which cannot be decoded: convert it to JPEG or PNG" if heif else "a video"
    if start.startswith(b"<"):
        return "an SVG drawing" if b"<svg" in start.lower() else "an HTML or XML page"
    return next((text for mark, text in SIGNATURES if start.startswith(mark)), None)
