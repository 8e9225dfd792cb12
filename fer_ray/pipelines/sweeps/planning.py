"""The first steps of a sweep: list the source, plan the work, check the source for losses."""

from collections.abc import Iterator
from typing import Any

from fer_ray.errors import SourceLostError
from fer_ray.pipelines.sweeps.context import SweepContext
from fer_ray.sources.streams.stream_labels import find_labels, note_unused_labels

EXAMPLES = 3  # paths in a message


def list_source(sweep: SweepContext) -> None:
    """List the images of the source, with their labels, into the ledger."""
    labels = find_labels(sweep.source, sweep.quality)
    with sweep.progress("list", "images", 0) as advance:

        def rows() -> Iterator[tuple[Any, ...]]:
            for entry in sweep.source.entries(sweep.quality):
                advance(1)
                yield (*entry, *labels(entry.path))

        sweep.ledger.load_listing(rows())
    note_unused_labels(labels, sweep.quality)


def plan_work(sweep: SweepContext) -> dict[str, tuple[int, int]]:
    """Compare the listing with the store.

    Returns:
        Number of images and of bytes by kind of work; see `PLAN_KINDS`.
    """
    sweep.ledger.load_images(sweep.store.snapshot("images"))
    sweep.ledger.load_results(sweep.store.snapshot("results"))
    sweep.ledger.load_readings(sweep.store.snapshot("readings"))
    return sweep.ledger.plan()


def require_intact_source(sweep: SweepContext) -> None:
    """Refuse a source that looks unmounted, incomplete or wrong, before any row is deleted.

    Raises:
        SourceLostError: The store belongs to another source, no images are listed, too many of the
            store's images are gone, or all labels are.
    """
    _require_same_uri(sweep)
    _require_images(sweep)
    _require_labels(sweep)


def _require_same_uri(sweep: SweepContext) -> None:
    previous = sweep.store.archive.source()
    if previous not in (None, sweep.source.uri) and not sweep.settings.sweep.source_moved:
        raise SourceLostError(
            f"The store {sweep.store.uri} contains the images of {previous}, but --source is "
            f"{sweep.source.uri}. If the images were moved there, pass --set "
            "sweep.source_moved=true. Otherwise, use another --store. Nothing was changed."
        )


def _require_images(sweep: SweepContext) -> None:
    planned, settings = sweep.record.planned, sweep.settings.sweep
    gone = planned.get("gone", (0, 0))[0]
    listed = sum(count for count, _ in planned.values()) - gone
    stored = sweep.ledger.count_stored()
    if not listed:
        raise SourceLostError(
            f"{sweep.source.uri} contains no images. Is it mounted? Nothing was changed."
            if stored
            else f"{sweep.source.uri} contains no images. Images are recognised by their file "
            "extensions."
        )
    if settings.gone == "delete" and gone > settings.max_gone_share * stored:
        paths = ", ".join(sweep.ledger.gone_examples(EXAMPLES))
        raise SourceLostError(
            f"{gone} of the store's {stored} images are gone from {sweep.source.uri} ({paths} …). "
            "Is it fully mounted? If the images were deleted on purpose, pass --set "
            "sweep.max_gone_share=1. Nothing was changed."
        )


def _require_labels(sweep: SweepContext) -> None:
    listed, stored = sweep.ledger.count_labelled()
    if stored and not listed and not sweep.settings.sweep.labels_gone:
        raise SourceLostError(
            f"{stored} of the store's images have a label or a subject, but none in "
            f"{sweep.source.uri} has one now. Is its labels.csv missing? If the labels were "
            "removed on purpose, pass --set sweep.labels_gone=true. Nothing was changed."
        )
