"""Neighbours -> ranked neighbours, each with the reasons for its rank. Pure.

Rule: the contributions of a product's reasons sum to its score, and equal scores are ordered by product id. The variant
that is shown for its item group is the first one in this order: of two with the same similarity, the one in stock. A
product whose GTIN is that of a code in the photo is the same item, at every similarity; the first product is where the
catalog's verdict says so.
"""

import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from types import MappingProxyType
from typing import assert_never

from sightline_server.domain.items import MatchLevel, Neighbour, RankedNeighbour, Reason, ReasonKind
from sightline_server.domain.verdict import Prominence, Verdict, prominence_of
from sightline_server.domain.vocabulary import DEFAULT_VOCABULARY, Synonyms
from sightline_server.settings import RankingSettings

CODE_CONTRIBUTION = 5.0
"""More than all other contributions together can differ, so that a product with the code comes before any other."""
UNAVAILABLE = frozenset({"out_of_stock", "out of stock"})
FurtherReasons = Mapping[str, Sequence[Reason]]
"""Reasons for some products of an object in addition to those of the ranking, by the ids of the products."""
NO_REASONS: FurtherReasons = MappingProxyType({})
FITTED = frozenset({ReasonKind.LOCAL_FEATURES, ReasonKind.COLOUR})
"""The further reasons that the fit of a verdict has seen."""
WORD = re.compile(r"[a-z]+")
Scored = tuple[Neighbour, float]
"""A neighbour and its score."""


def rank(
    neighbours: Sequence[Neighbour],
    label: str,
    *,
    limit: int,
    min_similarity: float,
    settings: RankingSettings,
    synonyms: Synonyms = DEFAULT_VOCABULARY.synonyms,
    one_per_group: bool = False,
    coded: Sequence[Neighbour] = (),
    further: FurtherReasons = NO_REASONS,
    compared: bool = True,
    verdict: Verdict | None = None,
) -> tuple[RankedNeighbour, ...]:
    """The best `limit` products of at least `min_similarity` for an object with the detector's `label`.

    With `one_per_group`, only the best product of each item group. `coded` are the products whose code is on the
    object; they come first, also below `min_similarity`. `further` has more reasons for some products. Where nothing
    was `compared`, similarities do not count. `verdict` decides whether the first product is the same item; without one
    the setting does.
    """
    threshold = max(min_similarity, settings.min_similarity)
    exact = {found.product_id: found for found in coded}
    # Without a threshold even an opposite vector is a neighbour; a threshold that is set always applies.
    near = [found for found in neighbours if threshold <= 0.0 or found.similarity >= threshold]
    kept = [*exact.values(), *(found for found in near if found.product_id not in exact)]
    scoring = Scoring(label, settings, synonyms, frozenset(exact), further, compared)
    scored = [(found, scoring.score(found)) for found in kept]
    scored.sort(key=lambda item: (-item[1], item[0].product_id))
    if one_per_group:
        scored = list(first_of_groups(scored))
    same: Collection[str] = exact
    if verdict is not None and scored and not exact:
        first = scored[0][0]
        same = {first.product_id} if verdict.is_same_item(prominence(first, neighbours, further, verdict)) else ()
    least = settings.same_item if verdict is None else None
    return tuple(
        RankedNeighbour(found, score, place, level_of(found, same, least, settings.similar), scoring.reasons(found))
        for place, (found, score) in enumerate(scored[:limit], start=1)
    )


@dataclass(frozen=True, slots=True)
class Scoring:
    """The scoring of the products of an object with `label`; see `rank`."""

    label: str
    settings: RankingSettings
    synonyms: Synonyms
    exact: Collection[str]
    further: FurtherReasons
    compared: bool

    def score(self, found: Neighbour) -> float:
        """The sum of the contributions."""
        return sum(contribution for _, contribution in self.contributions(found))

    def reasons(self, found: Neighbour) -> tuple[Reason, ...]:
        """The contributions with their texts; made for what is shown only, a third of what is scored."""
        return tuple(
            Reason(kind, contribution, self._text(kind, found)) for kind, contribution in self.contributions(found)
        )

    def contributions(self, found: Neighbour) -> list[tuple[ReasonKind, float]]:
        """The parts of the score of `found`, in the order of its reasons."""
        counted = [(ReasonKind.CODE, CODE_CONTRIBUTION)] if found.product_id in self.exact else []
        if self.compared:
            counted.append((ReasonKind.VISUAL_SIMILARITY, found.similarity))
        counted += [(more.kind, more.contribution) for more in self.further.get(found.product_id, ())]
        settings = self.settings
        if settings.category_bonus and names_category(self.label, found.category, self.synonyms):
            counted.append((ReasonKind.CATEGORY_MATCH, settings.category_bonus))
        if settings.unavailable_penalty and found.availability.lower() in UNAVAILABLE:
            counted.append((ReasonKind.UNAVAILABLE, -settings.unavailable_penalty))
        return counted

    def _text(self, kind: ReasonKind, found: Neighbour) -> str:
        match kind:
            case ReasonKind.CODE:
                return "a code in the photo has the number of this product (GTIN)"
            case ReasonKind.VISUAL_SIMILARITY:
                return f"looks {found.similarity:.0%} like this product image"
            case ReasonKind.CATEGORY_MATCH:
                return f"its category matches '{self.label}'"
            case ReasonKind.UNAVAILABLE:
                return "is out of stock"
            case ReasonKind.LOCAL_FEATURES | ReasonKind.COLOUR | ReasonKind.PRINTED_TEXT:
                return next(more.text for more in self.further[found.product_id] if more.kind is kind)
            case _:
                assert_never(kind)


def first_of_groups(scored: Iterable[Scored]) -> Iterator[Scored]:
    """The first product of each item group."""
    seen: set[int] = set()
    for item in scored:
        group = item[0].group
        if group not in seen:
            seen.add(group)
            yield item


def names_category(label: str, category: str, synonyms: Synonyms = DEFAULT_VOCABULARY.synonyms) -> bool:
    """Returns whether the last word of the detector's label is in a product's `category`."""
    wanted = words(label, synonyms)
    return bool(wanted) and wanted[-1] in words(category, synonyms)


@lru_cache(maxsize=4096)
def words(text: str, synonyms: Synonyms) -> tuple[str, ...]:
    """Lower-case words in the singular, synonyms made one. Labels and categories are few, so they are kept."""
    same = dict(synonyms)
    found = []
    for word in WORD.findall(text.lower()):
        singular = same.get(word) or (word[:-1] if word.endswith("s") and not word.endswith("ss") else word)
        found.append(same.get(singular, singular))
    return tuple(found)


def prominence(
    first: Neighbour, neighbours: Sequence[Neighbour], further: FurtherReasons, verdict: Verdict
) -> Prominence | None:
    """The prominence of the product that is ranked first among `neighbours`, as the fit of `verdict` saw it.

    None where it is not one of those, or they are too few.
    """
    near = neighbours[: verdict.neighbours]
    place = next((place for place, found in enumerate(near) if found.product_id == first.product_id), None)
    if place is None:
        return None
    scores = [
        found.similarity + sum(more.contribution for more in further.get(found.product_id, ()) if more.kind in FITTED)
        for found in near
    ]
    reasons = further.get(first.product_id, ())
    points = sum(more.contribution for more in reasons if more.kind is ReasonKind.LOCAL_FEATURES)
    return prominence_of(scores, [found.group for found in near], place, points)


def level_of(found: Neighbour, same: Collection[str], least: float | None, similar: float) -> MatchLevel:
    """The level that starts at or below the similarity of `found`, the highest for one of the ids `same`.

    `least` is the similarity of the same item; None where a similarity does not show it.
    """
    if found.product_id in same or (least is not None and found.similarity >= least):
        return MatchLevel.SAME_ITEM
    return MatchLevel.SIMILAR if found.similarity >= similar else MatchLevel.WEAK
