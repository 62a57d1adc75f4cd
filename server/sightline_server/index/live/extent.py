"""The reach of a view into the arrays of its state: the one value that is published."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Extent:
    """The first so many slots, rows and vectors of a state, as they are at `number`, and facts about them.

    `number` counts the changes of the state; births and deaths are numbers. It is not that of the log, `seq`, because a
    rollback changes the content and writes no operation.
    A slot is a product with its images from an upsert until the next one or a delete; a row is one version of what
    else is known of it. The base comes first in each count.
    """

    number: int
    seq: int
    """The last operation of the log that is in it."""
    slots: int
    rows: int
    vectors: int
    products: int
    """Products that live."""
    images: int
    """Vectors of products that live."""
    dead_base: int = 0
    """Vectors of the base whose product has died or was replaced."""
    dead_delta: int = 0
    """The same of vectors that were written since."""
    max_images: int = 0
    """The most vectors of one product."""
