"""The results of the stages: detections, objects, neighbours, products."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum

import numpy as np
from numpy.typing import NDArray

from sightline_server.domain.geometry import Box

WHOLE = Box.whole()
UNSURE_LABEL = "object"
"""The label of a detection whose class the detector is not sure of. It says nothing about the category of products."""


class ObjectSource(Enum):
    """The source of an object."""

    DETECTOR = "detector"
    BOX = "box"
    TAP = "tap"
    WHOLE_PHOTO = "whole_photo"
    CODE = "code"
    EMBEDDING = "embedding"
    CROP = "crop"


class TapBox(Enum):
    """The way in which the box of a tapped object was found."""

    DETECTION = "detection"
    GROWN = "grown"
    SQUARE = "square"


@dataclass(frozen=True, slots=True)
class Detection:
    """One answer of the detector: box in 0..1 of the photo, label, score in 0..1."""

    box: Box
    label: str
    score: float


@dataclass(frozen=True, slots=True)
class Scene:
    """The detections in one photo, best first: products, and people, which only the choice of objects reads.

    `unsure` are those of a confidence below the usual one, without a class, and `unsure_people` what may be a person.
    Both are empty unless they were asked for.
    """

    products: tuple[Detection, ...] = ()
    people: tuple[Detection, ...] = ()
    unsure: tuple[Detection, ...] = ()
    unsure_people: tuple[Detection, ...] = ()


@dataclass(frozen=True, slots=True)
class PhotoObject:
    """An object of the photo that is looked up; `label` is empty and `score` 0 where no detector saw it.

    `tap_box` is None unless a tap asked for it.
    """

    object_id: str
    box: Box
    source: ObjectSource
    label: str = ""
    score: float = 0.0
    tap_box: TapBox | None = None

    @property
    def is_whole_photo(self) -> bool:
        """True for a photo as a whole, whose edges may show surroundings; a caller's crop is the object alone."""
        return self.box == WHOLE and self.source is not ObjectSource.CROP


@dataclass(frozen=True, slots=True, eq=False)
class EmbeddedObject:
    """An object of the photo with its embedding, float32 [dimension], L2-normalised."""

    item: PhotoObject
    embedding: NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Product:
    """A product of the catalog, with the names of the Merchant Center feed (`category` is its `product_type`)."""

    id: str
    title: str = ""
    brand: str = ""
    category: str = ""
    price: str = ""
    availability: str = ""
    link: str = ""
    image_link: str = ""
    item_group_id: str = ""
    gtin: str = ""
    attributes: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Neighbour:
    """A product near an embedding, with what the ranking reads of it; the rest is read only for what is shown.

    `row` is its product and `image` its closest image, as the snapshot that found it numbers them. `similarity` is the
    cosine -1..1 of that image. `group` is equal for the variants of one article, within that snapshot.
    """

    row: int
    image: int
    similarity: float
    product_id: str
    category: str
    availability: str
    group: int


class MatchLevel(Enum):
    """The closeness of a match."""

    WEAK = "weak"
    SIMILAR = "similar"
    SAME_ITEM = "same_item"


class ReasonKind(Enum):
    """The kind of an adjustment of a product's score."""

    VISUAL_SIMILARITY = "visual_similarity"
    CATEGORY_MATCH = "category_match"
    UNAVAILABLE = "unavailable"
    CODE = "code"
    LOCAL_FEATURES = "local_features"
    COLOUR = "colour"
    PRINTED_TEXT = "printed_text"


@dataclass(frozen=True, slots=True)
class Reason:
    """One reason for a score; the contributions of a product sum to its score."""

    kind: ReasonKind
    contribution: float
    text: str


@dataclass(frozen=True, slots=True)
class RankedNeighbour:
    """A neighbour with its rank, from 1, and the reasons for it."""

    neighbour: Neighbour
    score: float
    rank: int
    level: MatchLevel
    reasons: tuple[Reason, ...]


@dataclass(frozen=True, slots=True)
class RankedProduct:
    """A product with its rank, from 1, and the reasons for it."""

    product: Product
    similarity: float
    score: float
    rank: int
    matched_image: str
    level: MatchLevel
    reasons: tuple[Reason, ...]
