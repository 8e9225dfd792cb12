"""Batches of images in a guarded child process: a fault costs the image that caused it, no other.

Images go to the child in batches, since a message per image, tables of one row and features of one
face take several milliseconds of CPU time per image more.
"""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa

from fer_ray.execution.guard import Fault
from fer_ray.features.steps import IMAGE
from fer_ray.vocabulary import Status

BATCH_IMAGES = 8  # larger batches save little more, and need more memory for crops
ATTEMPTS = 3  # per image whose child process dies

# A `Guard`: the rows of images, or the fault that ended their processing.
Process = Callable[[list[Any]], pa.Table | Fault]


@dataclass
class Processed:
    """The rows of images.

    Attributes:
        tables: Rows, with the number of their image in `IMAGE`; in any order.
        faults: Images that could not be processed, by number.
    """

    tables: list[pa.Table] = field(default_factory=list)
    faults: dict[int, Fault] = field(default_factory=dict)


def process_guarded(process: Process, images: Sequence[Any], attempts: int = ATTEMPTS) -> Processed:
    """Process images in batches; each has rows or a fault.

    A fault ends the processing of its batch. The image in question is then processed alone, and the
    others again without it; if no image is in question, each is processed alone. An image whose
    child process dies is tried again: the system may kill a child when memory is short, but is
    unlikely to do so `attempts` times.

    Args:
        process: A guard, or a function that behaves like one. It may raise to end the work.
        images: What `process` takes.
        attempts: Attempts for an image that crashes.
    """
    processed, tries = Processed(), Counter[int]()
    every = range(len(images))
    batches = [list(every[at : at + BATCH_IMAGES]) for at in every[::BATCH_IMAGES]]
    while batches:
        numbers = batches.pop()
        answer = process([images[number] for number in numbers])
        if not isinstance(answer, Fault):
            processed.tables.append(number_images(answer, numbers))
        elif answer.image is None and len(numbers) > 1:
            batches += [[number] for number in numbers]
        else:
            number = numbers[answer.image or 0]
            tries[number] += 1
            if answer.status == Status.TIMED_OUT or tries[number] >= attempts:
                processed.faults[number] = answer
            else:
                batches.append([number])
            if others := [other for other in numbers if other != number]:
                batches.append(others)
    return processed


def number_images(rows: pa.Table, numbers: Sequence[int]) -> pa.Table:
    """Replace the numbers in `IMAGE`, which count the images of a batch."""
    images = pa.array(numbers, pa.int64()).take(rows[IMAGE].combine_chunks())
    return rows.set_column(rows.column_names.index(IMAGE), IMAGE, images)
