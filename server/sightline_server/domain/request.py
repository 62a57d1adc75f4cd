"""One search as the pipeline sees it: checked, defaults filled in, deadline absolute.

Rule: a caller sends a photo or less. What each kind of search says about the products that it wants is `SearchTerms`.
"""

from dataclasses import dataclass, field
from enum import IntEnum
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from sightline_server.domain.filters import Filter
from sightline_server.domain.geometry import Box, Point

Region = Box | Point
NO_FILTER = Filter()

DEFAULT_TEXT_WEIGHT = 0.3
"""The weight of a text where the caller gives none."""
MAX_TEXT_BYTES = 512
"""Bytes of a text in UTF-8 at most: its tokens are made in the event loop, in at most two milliseconds of CPU."""


@dataclass(frozen=True, slots=True, eq=False)
class TextQuery:
    """A text of a caller, as token ids int64 [L] of the text encoder of `embedder`, and its weight in 0..1.

    The text itself is not here: it ends where the request is checked.
    """

    tokens: NDArray[np.int64] = field(repr=False)
    weight: float
    embedder: str


class Lane(IntEnum):
    """The priority of a call; lower values go first."""

    INTERACTIVE = 0
    BATCH = 1


class SearchTerms(Protocol):
    """The terms of every kind of search: its id, its deadline, and the products that may be returned."""

    @property
    def request_id(self) -> str:
        """The id of the call."""

    @property
    def deadline(self) -> float:
        """An instant of the server's monotonic clock, in seconds."""

    @property
    def lane(self) -> Lane:
        """The priority of the call."""

    @property
    def max_products(self) -> int:
        """The most products of one object; item groups with `one_per_group`."""

    @property
    def min_similarity(self) -> float:
        """The cosine similarity below which products are left out."""

    @property
    def one_per_group(self) -> bool:
        """True if one product of each item group is returned."""

    @property
    def wanted(self) -> Filter:
        """The conditions on products."""

    @property
    def text(self) -> TextQuery | None:
        """The text of the caller, in addition to what an image or an embedding shows."""


@dataclass(frozen=True, slots=True)
class SearchQuery:
    """A photo and what is asked about it.

    `photo` are the encoded bytes. `deadline` is an instant of the server's monotonic clock, in seconds. A `Box` in
    `regions` is searched as it is, a `Point` through the detector; without regions the detector decides. With
    `one_per_group`, `max_products` counts item groups. `wanted` says which products may be returned. The catalog is not
    part of it: a search needs a pass to one. With `look_closer`, which is without regions, parts of the photo go
    through the detector as well, after the first answer.

    One of the `crops` images of a `CropsQuery` has its number, from 1, as `crop`, and not its text; a photo has 0.
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
    crop: int = 0
    crops: int = 1
    look_closer: bool = False
    text: TextQuery | None = None

    def images(self) -> "tuple[SearchQuery, ...]":
        """The queries of its images: itself."""
        return (self,)

    @property
    def needs_detector(self) -> bool:
        """True if a region needs the detector even where it does not look for people."""
        return not self.regions or self.has_taps

    @property
    def has_taps(self) -> bool:
        """True if a region is a tap."""
        return any(isinstance(region, Point) for region in self.regions)


@dataclass(frozen=True, slots=True)
class CropsQuery:
    """Images that a caller cut out of a photo, each of them one object as a whole.

    `crops` are encoded bytes. The other fields are those of `SearchQuery`.
    """

    request_id: str
    crops: tuple[bytes, ...]
    deadline: float
    max_products: int
    min_similarity: float
    lane: Lane = Lane.INTERACTIVE
    one_per_group: bool = False
    wanted: Filter = NO_FILTER
    text: TextQuery | None = None

    def images(self) -> tuple[SearchQuery, ...]:
        """A query for each crop: a photo whose whole is the region, so that people are handled as in photos."""
        return tuple(
            SearchQuery(
                request_id=self.request_id,
                photo=crop,
                deadline=self.deadline,
                max_objects=1,
                max_products=self.max_products,
                min_similarity=self.min_similarity,
                regions=(Box.whole(),),
                lane=self.lane,
                one_per_group=self.one_per_group,
                wanted=self.wanted,
                crop=number,
                crops=len(self.crops),
            )
            for number, crop in enumerate(self.crops, start=1)
        )


@dataclass(frozen=True, slots=True)
class EmbeddingsQuery:
    """Embeddings that a caller made of objects.

    `vectors` are of the embedder with the identity `embedder`: each float32 [D], little-endian, L2-normalised as far as
    `rpc.vectors` demands. The other fields are those of `SearchQuery`.
    """

    request_id: str
    embedder: str
    vectors: tuple[bytes, ...]
    deadline: float
    max_products: int
    min_similarity: float
    lane: Lane = Lane.INTERACTIVE
    one_per_group: bool = False
    wanted: Filter = NO_FILTER
    text: TextQuery | None = None

    def embeddings(self) -> list[NDArray[np.float32]]:
        """The vectors as arrays float32 [D], each of length 1."""
        arrays = [np.frombuffer(each, "<f4").astype(np.float32) for each in self.vectors]
        return [each / np.float32(np.linalg.norm(each)) for each in arrays]


Query = SearchQuery | CropsQuery | EmbeddingsQuery
"""The query of any search."""
