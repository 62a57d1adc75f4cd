"""The settings of ranking."""

from typing import Annotated

from pydantic import Field

from sightline_server.settings.part import Fraction, Part


class RankingSettings(Part):
    """What moves a product's score, and where the levels start; all in units of cosine similarity."""

    same_item: Fraction = 0.80
    """Similarity from which a match is SAME_ITEM."""
    similar: Fraction = 0.60
    """Similarity from which a match is SIMILAR; below it is WEAK."""
    category_bonus: Annotated[float, Field(ge=0, le=0.5)] = 0.03
    """Added when the detector's label names the product's category."""
    unavailable_penalty: Annotated[float, Field(ge=0, le=0.5)] = 0.02
    """Taken off a product that is out of stock."""
    min_similarity: Fraction = 0.0
    """Products below it are never returned; 0 keeps all."""
    extra_candidates: Annotated[int, Field(ge=0)] = 20
    """Neighbours fetched beyond those asked for, so that a reason can lift one of them into the answer. With
    `one_per_group` they are item groups."""
    one_per_group: bool = False
    """Shows one product of each `item_group_id`, for requests that do not say whether they want that."""
