"""The objects of a photo and the products of a catalog, as values.

Rule: plain frozen values, as the events that hold them; callers import all of them from `sightline_client.events`.
Coordinates are fractions of the upright photo: 0..1, origin top left.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum


class ObjectSource(Enum):
    """The source of an object; UNKNOWN stands for a value of a newer server that this client does not know."""

    UNKNOWN = "unknown"
    DETECTOR = "detector"
    BOX = "box"
    TAP = "tap"
    WHOLE_PHOTO = "whole_photo"
    CODE = "code"
    """A barcode or QR code of a product of the catalog, outside of every other object."""
    EMBEDDING = "embedding"
    """An embedding that the caller made; its box is the whole of what was embedded."""
    CROP = "crop"
    """A crop that the caller made; its box is the whole crop."""


class TapBox(Enum):
    """The way in which the box of a tapped object was found."""

    UNKNOWN = "unknown"
    DETECTION = "detection"
    """A detection that covers the tap; one of which the detector is not sure has the label `object`."""
    GROWN = "grown"
    """The region of similar colours around the tap."""
    SQUARE = "square"
    """A square around the tap."""


class MatchLevel(Enum):
    """The closeness of a match."""

    UNKNOWN = "unknown"
    WEAK = "weak"
    SIMILAR = "similar"
    SAME_ITEM = "same_item"


class ReasonKind(Enum):
    """The kind of an adjustment of a product's score."""

    UNKNOWN = "unknown"
    VISUAL_SIMILARITY = "visual_similarity"
    CATEGORY_MATCH = "category_match"
    UNAVAILABLE = "unavailable"
    CODE = "code"
    """A barcode or QR code in the photo holds the product's GTIN."""
    LOCAL_FEATURES = "local_features"
    """Points of the print on the object are those of the product's image, in the same arrangement."""
    COLOUR = "colour"
    """The colours of the object are more, or less, like those of the product's image than those of the others."""
    PRINTED_TEXT = "printed_text"
    """The text that is printed on the object is like the name of the product and the text of its image."""


@dataclass(frozen=True, slots=True)
class Point:
    """The place where a person tapped."""

    x: float
    y: float


@dataclass(frozen=True, slots=True)
class Box:
    """A rectangle; the server wants x_min < x_max and y_min < y_max."""

    x_min: float
    y_min: float
    x_max: float
    y_max: float

    @classmethod
    def whole(cls) -> "Box":
        """The whole photo."""
        return cls(0.0, 0.0, 1.0, 1.0)


Region = Box | Point


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
class Reason:
    """One reason for a score; the contributions of a product sum to its score."""

    kind: ReasonKind
    contribution: float
    text: str


@dataclass(frozen=True, slots=True)
class RankedProduct:
    """A product with its rank, from 1.

    `similarity` is the cosine -1..1 of the closest image, whose link is `matched_image`, and 0 for an object that is a
    code alone; products are ordered by `score`, the similarity moved by the `reasons`.
    """

    product: Product
    similarity: float
    score: float
    rank: int
    matched_image: str
    level: MatchLevel
    reasons: tuple[Reason, ...] = ()


@dataclass(frozen=True, slots=True)
class DetectedObject:
    """An object of the photo; `label` is empty and `score` 0 where no detector saw it.

    `tap_box` is None unless a tap asked for it, and from servers that do not say it.
    """

    object_id: str
    box: Box
    label: str = ""
    score: float = 0.0
    source: ObjectSource = ObjectSource.UNKNOWN
    tap_box: TapBox | None = None
