"""The limits at which what was written is merged into a new base. Pure."""

import math
from dataclasses import dataclass

from sightline_server.index.live.extent import Extent
from sightline_server.index.live.state import LiveState


@dataclass(frozen=True, slots=True)
class MergePolicy:
    """A new base is made when one of the limits is reached; each is a number or a share, whichever is more.

    The numbers keep small catalogs from merging all the time: comparing 10,000 images exactly takes 3 ms.
    """

    images: int = 10_000
    """Vectors that were written since, also those that have died."""
    images_share: float = 0.05
    dead: int = 1_000
    """Vectors of the base whose product has died: an approximate index, and one on a GPU, may return them in place of
    living ones, and is then asked again or not at all."""
    dead_exact: int = 5_000
    """The same of an index that can return all of its vectors. There they cost memory and time only: 5,000 of 1,280
    numbers are 26 MB and 2 ms of a search, and replacing 100 products a second merges once in 50 s."""
    dead_share: float = 0.10
    rows: int = 20_000
    """Versions of products without their images, such as new prices: about 2 kB each."""
    rows_share: float = 0.10
    changed: int = 1_000
    changed_share: float = 0.025
    """Products that a rollback changes one by one, at most `rows`. Each takes 0.24 ms, as long as 14 of a new base
    (measured on 100,000 x 256)."""
    pause_s: float = 60.0
    """Seconds after a merge that failed until the next one."""

    def images_at(self, base_images: int) -> int:
        """Vectors written since a base of `base_images` was built, from which on a new one is due."""
        return math.ceil(max(self.images, self.images_share * base_images))

    def dead_at(self, state: LiveState) -> float:
        """Dead vectors of the base of `state`, from which on a new one is due."""
        index = state.base.index
        whole = index.exact and index.max_k >= state.base_images
        return max(self.dead_exact if whole else self.dead, self.dead_share * state.base_images)

    def changed_at(self, products: int) -> int:
        """The most products of a base of `products` that a rollback changes one by one; for more, a base is built."""
        return min(self.rows, math.ceil(max(self.changed, self.changed_share * products)))

    def due(self, state: LiveState, extent: Extent) -> bool:
        """Returns whether a limit is reached."""
        base = state.base_images
        written, rows = extent.vectors - base, extent.rows - state.base_products
        return (
            written >= self.images_at(base)
            or extent.dead_base >= self.dead_at(state)
            or rows >= max(self.rows, self.rows_share * state.base_products)
        )
