"""Advice on images whose values use only part of the range of their pixel format."""

from collections import Counter
from collections.abc import Iterable, Mapping

from fer_ray.settings.extraction import Decode
from fer_ray.sources.pixel_range import FLAT
from fer_ray.sources.quality import format_counts


def count_ranges(modes: Iterable[str | None]) -> Counter[str]:
    """Count images by those values of the column `mode` that have a note on their range."""
    return Counter(mode for mode in modes if mode and mode.endswith(")"))


def advise_on_ranges(counts: Mapping[str, int], decode: Decode) -> list[str]:
    """Report how many images use only part of their bit depth, or show a single gray value.

    Args:
        counts: Number of images by the column `mode`; values without a note are ignored.
        decode: How the images were decoded.
    """
    noted = count_ranges(Counter(dict(counts)).elements())
    flat = {mode: count for mode, count in noted.items() if mode.endswith(f"({FLAT})")}
    narrow = {mode: count for mode, count in noted.items() if mode not in flat}
    messages = []
    if narrow:
        effect = (
            "They were stretched to the full range."
            if decode.stretch
            else "They are almost black or white when decoded: pass --set "
            "extract.decode.stretch=true to stretch them."
        )
        messages.append(
            f"{sum(narrow.values())} images use only part of their bit depth "
            f"({format_counts(narrow)}). {effect}"
        )
    if flat:
        messages.append(
            f"{sum(flat.values())} images consist of a single value. Check how they were exported."
        )
    return messages
