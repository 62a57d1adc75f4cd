"""The settings of ranking."""

from typing import Annotated

from pydantic import Field

from sightline_server.settings.part import Fraction, Part


class RankingSettings(Part):
    """Adjustments of a product's score and thresholds of the match levels, all in units of cosine similarity."""

    same_item: Fraction | None = None
    """Minimum similarity of the level SAME_ITEM in catalogs without their own verdict (`sightline adapt
    --labels`); unset: without one no similarity is enough, and only a code in the photo makes a product the
    same item."""
    similar: Fraction = 0.60
    """Minimum similarity of the level SIMILAR; matches below it are WEAK."""
    category_bonus: Annotated[float, Field(ge=0, le=0.5)] = 0.03
    """Added to a score when the detector's label names the product's category."""
    unavailable_penalty: Annotated[float, Field(ge=0, le=0.5)] = 0.02
    """Subtracted from the score of a product that is out of stock."""
    min_similarity: Fraction = 0.0
    """Minimum similarity of a returned product; 0 keeps all."""
    extra_candidates: Annotated[int, Field(ge=0)] = 20
    """Neighbours fetched in addition to those requested, so that an adjustment can raise one of them into the answer.
    With `one_per_group` they are item groups."""
    one_per_group: bool = False
    """Default of requests that do not set it: shows one product of each `item_group_id`."""
