"""What the stages find: detections, objects, neighbours, products."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum

from sightline_server.domain.geometry import Box


class ObjectSource(Enum):
    """Who said that there is an object."""

    DETECTOR = "detector"
    BOX = "box"
    TAP = "tap"
    WHOLE_PHOTO = "whole_photo"


@dataclass(frozen=True, slots=True)
class Detection:
    """One answer of the detector: box in 0..1 of the photo, label, score in 0..1."""

    box: Box
    label: str
    score: float


@dataclass(frozen=True, slots=True)
class Scene:
    """What the detector found in one photo, best first: products, and people, whom only the choice of objects reads."""

    products: tuple[Detection, ...] = ()
    people: tuple[Detection, ...] = ()


@dataclass(frozen=True, slots=True)
class PhotoObject:
    """An object of the photo that is looked up; `label` is empty and `score` 0 where no detector saw it."""

    object_id: str
    box: Box
    source: ObjectSource
    label: str = ""
    score: float = 0.0


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

    @property
    def group(self) -> tuple[str, str]:
        """Equal for the variants of one article; a product without `item_group_id` is a group of its own."""
        return (self.item_group_id, "") if self.item_group_id else ("", self.id)


@dataclass(frozen=True, slots=True)
class Neighbour:
    """A product near an embedding: its cosine similarity -1..1 by its closest picture, and that picture's link."""

    product: Product
    similarity: float
    matched_image: str


class MatchLevel(Enum):
    """How close a match is."""

    WEAK = "weak"
    SIMILAR = "similar"
    SAME_ITEM = "same_item"


class ReasonKind(Enum):
    """What can move a product's score."""

    VISUAL_SIMILARITY = "visual_similarity"
    CATEGORY_MATCH = "category_match"
    UNAVAILABLE = "unavailable"


@dataclass(frozen=True, slots=True)
class Reason:
    """One reason for a score; the contributions of a product sum to its score."""

    kind: ReasonKind
    contribution: float
    text: str


@dataclass(frozen=True, slots=True)
class RankedProduct:
    """A product with its place, from 1, and the reasons for it."""

    product: Product
    similarity: float
    score: float
    rank: int
    matched_image: str
    level: MatchLevel
    reasons: tuple[Reason, ...]
