"""One search as the pipeline sees it: checked, defaults filled in, deadline absolute."""

from dataclasses import dataclass
from enum import IntEnum

from sightline_server.domain.filters import Filter
from sightline_server.domain.geometry import Box, Point

Region = Box | Point
NO_FILTER = Filter()


class Lane(IntEnum):
    """The priority of a call; lower values go first."""

    INTERACTIVE = 0
    BATCH = 1


@dataclass(frozen=True, slots=True)
class SearchQuery:
    """A photo and what is asked about it.

    `photo` are the encoded bytes. `deadline` is an instant of the server's monotonic clock, in seconds. A `Box` in
    `regions` is searched as it is, a `Point` through the detector; without regions the detector decides. With
    `one_per_group`, `max_products` counts item groups. `wanted` says which products may be returned. The catalog is not
    part of it: a search needs a pass to one.
    """

    request_id: str
    photo: bytes
    deadline: float
    max_objects: int
    max_products: int
    min_similarity: float
    regions: tuple[Region, ...] = ()
    lane: Lane = Lane.INTERACTIVE
    one_per_group: bool = False
    wanted: Filter = NO_FILTER

    @property
    def needs_detector(self) -> bool:
        """True if a region needs the detector even where it does not look for people."""
        return not self.regions or any(isinstance(region, Point) for region in self.regions)
