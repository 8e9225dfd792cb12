"""What looks like the wrong source: refused before any row is changed."""

from fer_ray.errors import SourceLostError
from fer_ray.sweep.state import Sweep

EXAMPLES = 3  # paths that a message names


def refuse_another_source(sweep: Sweep) -> None:
    """A folder that is not mounted looks as if every image had been removed.

    Raises:
        SourceLostError: Nothing is listed, too much of what the store has is gone, all labels are,
            or the store is of another source.
    """
    _refuse_another_name(sweep)
    _refuse_an_emptied_one(sweep)
    _refuse_one_without_labels(sweep)


def _refuse_another_name(sweep: Sweep) -> None:
    before = sweep.store.archive.source()
    if before not in (None, sweep.source.uri) and not sweep.settings.sweep.source_moved:
        raise SourceLostError(
            f"The store {sweep.store.uri} holds the images of {before}, and --source is "
            f"{sweep.source.uri}. If these are the same images in another place: --set "
            "sweep.source_moved=true. Else give another --store. Nothing was changed."
        )


def _refuse_an_emptied_one(sweep: Sweep) -> None:
    planned, settings = sweep.record.planned, sweep.settings.sweep
    gone = planned.get("gone", (0, 0))[0]
    listed = sum(count for count, _ in planned.values()) - gone
    stored = sweep.ledger.stored()
    if not listed:
        raise SourceLostError(
            f"{sweep.source.uri} holds no images. Is it mounted? Nothing was changed."
            if stored
            else f"{sweep.source.uri} holds no images; they are looked for by their endings."
        )
    if settings.gone == "delete" and gone > settings.max_gone_share * stored:
        paths = ", ".join(sweep.ledger.gone_examples(EXAMPLES))
        raise SourceLostError(
            f"{gone} of the store's {stored} images are gone from {sweep.source.uri} ({paths} …). "
            "Is all of it mounted? If it is right: --set sweep.max_gone_share=1. Nothing was "
            "changed."
        )


def _refuse_one_without_labels(sweep: Sweep) -> None:
    listed, stored = sweep.ledger.labelled()
    if stored and not listed and not sweep.settings.sweep.labels_gone:
        raise SourceLostError(
            f"{stored} of the store's images have a label or subject, and none in "
            f"{sweep.source.uri} has any more. Is its labels.csv gone? If it is right: --set "
            "sweep.labels_gone=true. Nothing was changed."
        )
