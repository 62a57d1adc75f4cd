"""The objects of a photo and its codes -> the objects with the products that their codes name. Pure.

Rule: a code belongs to the smallest object that covers its centre. A code that no object covers is an object of its
own, unless the request names regions: those are all that is asked about. The regions that are refused because of people
stay refused.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from sightline_server.domain.geometry import Box, smallest_covering
from sightline_server.domain.items import ObjectSource, PhotoObject
from sightline_server.domain.request import SearchQuery
from sightline_server.ports import CodedProducts
from sightline_server.stages.choose import Choice

MOST_OWN = 16
"""Objects of codes alone that one photo has at most; `max_objects` is usually less."""


@dataclass(frozen=True, slots=True, eq=False)
class MatchedCode:
    """A GTIN that the catalog holds: its products, and the boxes of the codes with it, largest first."""

    boxes: tuple[Box, ...]
    products: CodedProducts


@dataclass(frozen=True, slots=True, eq=False)
class CodedChoice:
    """The objects of a photo, and by the id of an object the products that its codes name."""

    choice: Choice
    codes: Mapping[str, tuple[CodedProducts, ...]] = field(default_factory=dict)


def join(query: SearchQuery, choice: Choice, matched: Sequence[MatchedCode]) -> CodedChoice:
    """The objects of `choice` with their codes: those of codes alone first, then the others, `max_objects` in all."""
    if not matched:
        return CodedChoice(choice)
    searched = [item for item in choice.objects if item.object_id not in choice.on_person]
    codes: dict[str, tuple[CodedProducts, ...]] = {}
    alone: list[MatchedCode] = []
    for code in matched:
        covering = {item.object_id for box in code.boxes if (item := covering_object(searched, box)) is not None}
        for object_id in covering:
            codes[object_id] = (*codes.get(object_id, ()), code.products)
        if not covering:
            alone.append(code)
    if query.regions or not alone:
        return CodedChoice(choice, codes)
    return with_own_objects(query, choice, codes, alone[:MOST_OWN])


def covering_object(objects: Sequence[PhotoObject], box: Box) -> PhotoObject | None:
    """The smallest object that covers the centre of `box`."""
    index = smallest_covering([item.box for item in objects], box.centre)
    return None if index is None else objects[index]


def with_own_objects(
    query: SearchQuery,
    choice: Choice,
    codes: Mapping[str, tuple[CodedProducts, ...]],
    alone: Sequence[MatchedCode],
) -> CodedChoice:
    """`choice` with an object for each code of `alone`; where there is no room, the last objects without a code go."""
    own = [(PhotoObject("", code.boxes[0], ObjectSource.CODE), (code.products,)) for code in alone[: query.max_objects]]
    others = [(item, codes.get(item.object_id, ())) for item in choice.objects]
    by_worth = sorted(range(len(others)), key=lambda place: (not others[place][1], place))
    kept = [*own, *(others[place] for place in sorted(by_worth[: query.max_objects - len(own)]))]
    objects = tuple(replace(item, object_id=f"o{number}") for number, (item, _) in enumerate(kept, start=1))
    named = {item.object_id: products for item, (_, products) in zip(objects, kept, strict=True) if products}
    # A photo with something to show is more than its people.
    return CodedChoice(Choice(objects, hidden=choice.hidden, scene=choice.scene), named)
