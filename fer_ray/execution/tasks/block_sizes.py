"""How a listing is divided into blocks, the units of work, of retrying and of resuming."""

import pyarrow as pa

from fer_ray.storage.staging import POSITION, StagedRows

LEAST_BLOCK_IMAGES = 8  # smaller blocks are mostly overhead
BLOCK_BATCHES = 8  # batches of a network per block, which then takes a second or more
TAPER = 4  # the last blocks have at least 1 / TAPER of the images of the largest ones


def block_size(images: int, workers: int, blocks_per_worker: int = 8) -> int:
    """Images per block, such that workers seldom wait for work.

    A worker waits about 0.15 s between two blocks, and needs 0.02 to 0.15 s per image. Blocks have
    at most 128 images, since a failed block is repeated.

    Args:
        images: Number of images.
        workers: Number of workers.
        blocks_per_worker: Minimum number of blocks per worker.
    """
    return min(128, max(LEAST_BLOCK_IMAGES, images // (blocks_per_worker * workers)))


def next_size(size: int, done: int, left: int, workers: int) -> int:
    """Images of the next block.

    The first block of each worker is small, so that the first rows are soon stored. Blocks are
    smaller towards the end, so that all workers finish together.

    Args:
        size: Images of a block in between.
        done: Number of images in earlier blocks.
        left: Number of images that are left.
        workers: Number of workers.
    """
    if done < workers * LEAST_BLOCK_IMAGES:
        return LEAST_BLOCK_IMAGES
    return min(size, max(LEAST_BLOCK_IMAGES, size // TAPER, left // (2 * workers)))


def split_blocks(
    table: pa.Table,
    staged: StagedRows,
    block_images: int,
    workers: int | None = None,
    most: int | None = None,
) -> list[pa.Table]:
    """Divide the rows of a listing that are not stored yet into blocks, with their positions.

    Args:
        table: The listing.
        staged: Rows stored so far.
        block_images: Images per block.
        workers: Makes the first and last blocks smaller, as `next_size` does for this number of
            workers. None: all blocks have the same size.
        most: Number of rows to divide. None: all.
    """
    positions = staged.missing_positions(table.num_rows)[:most]
    left = table.take(positions).append_column(POSITION, pa.array(positions, pa.int64()))
    blocks, done = list[pa.Table](), 0
    while done < left.num_rows:
        size = block_images
        if workers:
            size = next_size(block_images, done, left.num_rows - done, workers)
        blocks.append(left.slice(done, size))
        done += size
    return blocks


def rows_per_block(rows: int, workers: int, batch_images: int, requested: int | None) -> int:
    """Rows of a block: a multiple of the network's batch, small enough to occupy all workers.

    Args:
        rows: Number of rows.
        workers: Number of actors.
        batch_images: Images per batch of the network.
        requested: The user's setting, which takes precedence. None: not set.
    """
    if requested is not None:
        return requested
    batches = -(-rows // (batch_images * 4 * workers))
    return batch_images * min(BLOCK_BATCHES, max(1, batches))
