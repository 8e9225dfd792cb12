"""Planning of a sweep: what to do, partition by partition, and checks for a lost source."""

from collections import Counter

from fer_ray.errors import SourceLostError
from fer_ray.pipelines.sweeps.context import SweepContext
from fer_ray.pipelines.sweeps.planning.indexing import RESULT_COLUMNS, IndexFiles, group_files
from fer_ray.pipelines.sweeps.planning.plan_partition import (
    ImageFiles,
    PartitionPlan,
    PlanImages,
    merge_samples,
)
from fer_ray.pipelines.sweeps.publishing.settle import SettleContents
from fer_ray.storage.planning.partitions import level_for, partition_of, partitions

EXAMPLES = 3  # paths in a message
SAMPLE = 16  # random images of each kind


def plan_work(sweep: SweepContext) -> dict[str, tuple[int, int]]:
    """Compare the listing with the store.

    Returns:
        Number of images and of bytes by kind of work; see `PLAN_KINDS`.
    """
    files, snapshot = sweep.files, sweep.store.snapshot("images")
    names = snapshot.files()
    stored = sum(file.rows for file in names.values())
    if sweep.needs_ray_for(stored):
        sweep.runner.start()
    files.images_version = snapshot.version
    files.level = max(
        [level_for(max(stored, files.listed)), *(partition_of(n).level for n in names)]
    )
    task = PlanImages(
        sweep.context, sweep.scratch, ImageFiles(sweep.store.folder("images"), list(names)),
        files.listing, files.labels, _index_readings(sweep),
    )  # fmt: skip
    plans = list(sweep.run(task, iter(partitions(files.level))))
    counts, sizes = _add_plans(sweep, plans)
    settle(sweep)
    for missing, total in ((files.missing, counts), (files.missing_size, sizes)):
        total.subtract(missing)
        total["missing"] += missing.total()
    return {kind: (counts[kind], sizes[kind]) for kind in counts if counts[kind]}


def _add_plans(
    sweep: SweepContext, plans: list[PartitionPlan]
) -> tuple[Counter[str], Counter[str]]:
    """Add the plans of all partitions; the number of images and of bytes by kind of work."""
    files = sweep.files
    counts, sizes = Counter[str](), Counter[str]()
    for plan in plans:
        counts.update(plan.planned)
        sizes.update(plan.size)
        files.changes += plan.changes
        files.contents += plan.contents
        files.unread += [plan.unread] if plan.unread else []
        files.touched |= plan.touched
        files.summaries[plan.partition.number] = plan.summary
        files.labelled += plan.labelled
        files.gone = sorted([*files.gone, *plan.gone])[:EXAMPLES]
        sweep.quality.add(plan.unused_labels)
    files.known_sample = merge_samples((plan.known_sample for plan in plans), SAMPLE)
    files.unread_sample = [one for plan in plans for one in plan.unread_sample]
    return counts, sizes


def _index_readings(sweep: SweepContext) -> list[str]:
    """Sort what unfinished sweeps have read by path; the names of the scratch files."""
    readings = sweep.store.snapshot("readings").files()
    task = IndexFiles(
        sweep.store.folder("readings"),
        sweep.scratch,
        "path",
        ["path", "size", "mtime_ns", "sha256"],
    )
    indexed = sweep.run(task, group_files(readings))
    return [name for _, names in indexed for name in names]


def index_results(sweep: SweepContext) -> None:
    """Index the latest version of the results."""
    files, snapshot = sweep.files, sweep.store.snapshot("results")
    task = IndexFiles(sweep.store.folder("results"), sweep.scratch, "sha256", RESULT_COLUMNS)
    for names, scratch_files in sweep.run(task, files.results.outdated(snapshot.files())):
        files.results.add(names, scratch_files)
    files.results_version = snapshot.version


def settle(sweep: SweepContext) -> None:
    """Find the outcome of each content from the latest version of the results.

    Sets the images of contents that have results, and the to-do files of those that do not.
    """
    files = sweep.files
    version = sweep.store.snapshot("results").version
    if files.settled_at == (version, len(files.outcomes)):
        return
    index_results(sweep)
    task = SettleContents(
        sweep.context, sweep.scratch, files.level, files.contents, files.outcomes,
        files.results.files,
    )  # fmt: skip
    level = max(files.level, level_for(files.results.rows))
    settled = list(sweep.run(task, iter(partitions(level))))
    files.settled = [name for part in settled for name in part.files]
    files.to_process = [part.todo for part in settled if part.todo]
    files.missing = sum((part.missing for part in settled), Counter[str]())
    files.missing_size = sum((part.missing_size for part in settled), Counter[str]())
    files.touched = files.touched.union(*(part.touched for part in settled))
    samples = [files.unread_sample, *(part.sample for part in settled)]
    files.todo_sample = merge_samples(samples, SAMPLE)
    files.settled_at = (files.results_version, len(files.outcomes))


def require_intact_source(sweep: SweepContext) -> None:
    """Reject a source that looks unmounted, incomplete or wrong, before any row is deleted.

    Raises:
        SourceLostError: The store belongs to another source, no images are listed, too many of the
            store's images are gone, or all labels are.
    """
    require_same_source(sweep, sweep.store.archive.source())
    _require_images(sweep)
    _require_labels(sweep)


def require_same_source(sweep: SweepContext, previous: str | None) -> None:
    """Reject a source other than that of the store's images.

    Args:
        sweep: The sweep.
        previous: Location of the source whose images the store contains; None if there is none.

    Raises:
        SourceLostError: The sweep has another source.
    """
    location = sweep.source.location
    if previous not in (None, location) and not sweep.settings.sweep.source_moved:
        raise SourceLostError(
            f"The store {sweep.store.uri} contains the images of {previous}, but --source is "
            f"{location}. If the images were moved there, pass --set "
            "sweep.source_moved=true. Otherwise, use another --store. The rows of the store are "
            "unchanged."
        )


def _require_images(sweep: SweepContext) -> None:
    planned, settings = sweep.record.planned, sweep.settings.sweep
    gone = planned.get("gone", (0, 0))[0]
    listed = sum(count for count, _ in planned.values()) - gone
    stored = sweep.files.summary.images
    if not listed:
        raise SourceLostError(
            f"{sweep.source.uri} contains no images. Is it mounted? Nothing was changed."
            if stored
            else f"{sweep.source.uri} contains no images. Images are recognised by their file "
            "extensions."
        )
    if settings.gone == "delete" and gone > settings.max_gone_share * stored:
        paths = ", ".join(sweep.files.gone)
        raise SourceLostError(
            f"{gone} of the store's {stored} images are gone from {sweep.source.uri} ({paths} …). "
            "Is it fully mounted? If the images were deleted on purpose, pass --set "
            "sweep.max_gone_share=1. Nothing was changed."
        )


def _require_labels(sweep: SweepContext) -> None:
    listed, stored = sweep.files.labelled, sweep.files.summary.labelled
    if stored and not listed and not sweep.settings.sweep.labels_gone:
        raise SourceLostError(
            f"{stored} of the store's images have a label or a subject, but none in "
            f"{sweep.source.uri} has one now. Is its labels.csv missing? If the labels were "
            "removed on purpose, pass --set sweep.labels_gone=true. Nothing was changed."
        )
