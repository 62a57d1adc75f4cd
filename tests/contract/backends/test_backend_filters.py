"""Filters on every backend: no product that is filtered out, and answers as full as the catalog allows."""

from decimal import Decimal

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sightline_server.domain.filters import AttributeCondition, Filter, PriceRange
from sightline_server.errors import ErrorKind, SightlineError
from sightline_server.ports import Snapshot
from tests.support.backend_shop import HOSTILE, ahead, ids, ids_of, many, near, product
from tests.support.backends import Backend, Reference
from tests.support.catalogs import unit_vectors

SHOP = ahead(
    [
        product(
            "chair", near(0.9), "49.99 USD", brand="Norrvik", category="Furniture > Chairs", availability="in_stock"
        ),
        product(
            "stool", near(0.8), "50 USD", brand="NORRVIK ", category="Furniture > Chairs > Stools", gtin="96385074"
        ),
        product("chairs", near(0.7), "50.01 USD", brand="Nordhem", category="Furniture > Chairs & Tables"),
        product("table", near(0.6), "49.99 EUR", brand="", category="Furniture", availability="Out of Stock"),
        product("vase", near(0.5), brand="Ödland", item_group_id="g1", attributes={"color": "Red/Blue", "size": "M"}),
        product("vase-2", near(0.4), "0 USD", brand="Ödland", item_group_id="g1", attributes={"Color": "GREEN"}),
        product("vase-3", near(0.3), item_group_id="g2", attributes={"color": "ﬁne red", "Fit Type": "slim"}),
        product("G1", near(0.2), item_group_id="G1", attributes={"detail": "x" * 300}),
    ]
)


def attribute(name: str, *values: str) -> Filter:
    return Filter(attributes=(AttributeCondition(name, values),))


def price(currency: str, minimum: str | None = None, maximum: str | None = None) -> PriceRange:
    return PriceRange(currency, Decimal(minimum) if minimum else None, Decimal(maximum) if maximum else None)


CASES = [
    (Filter(brands=("norrvik",)), "chair stool"),
    (Filter(brands=("Norrvik", "ödland")), "chair stool vase vase-2"),
    (Filter(brands=("nobody",)), ""),
    (Filter(brands=("norr%", "_orrvik", "")), ""),
    (Filter(categories=("Furniture>Chairs",)), "chair stool"),
    (Filter(categories=("furniture",)), "chair stool chairs table"),
    (Filter(categories=("Furniture > Chairs > Stools > Low",)), ""),
    (Filter(categories=("Chairs",)), ""),
    (Filter(prices=(price("USD", maximum="50"),)), "chair stool vase-2"),
    (Filter(prices=(price("USD", "50"),)), "stool chairs"),
    (Filter(prices=(price("USD", "49.99", "50"),)), "chair stool"),
    (Filter(prices=(price("USD", "50.00001", "50.0099"),)), ""),
    (Filter(prices=(price("EUR"),)), "table"),
    (Filter(prices=(price("USD", "50.01"), price("EUR", maximum="49.99"))), "chairs table"),
    (Filter(prices=(price("GBP"),)), ""),
    (Filter(prices=(price("USD", "1e30"), price("EUR", maximum="1e30"))), "table"),
    (Filter(availabilities=("in stock",)), "chair"),
    (Filter(availabilities=("out-of-stock", "In_Stock")), "chair table"),
    (attribute("color", "red"), "vase"),
    (attribute("COLOR", "Red/Blue", "green"), "vase vase-2"),
    (attribute("color", "fine red"), "vase-3"),
    (attribute("fit_type", "SLIM"), "vase-3"),
    (attribute("detail", "x" * 300), ""),
    (attribute("size", "M", "L"), "vase"),
    (attribute("weight", "M"), ""),
    (Filter(product_ids=("vase", "G1", "no")), "vase G1"),
    (Filter(product_ids=("VASE",)), ""),
    (Filter(item_group_ids=("g1",)), "vase vase-2"),
    (Filter(item_group_ids=("g1", "G1")), "vase vase-2 G1"),
    (Filter(excluded_product_ids=("vase", "no")), "chair stool chairs table vase-2 vase-3 G1"),
    (Filter(excluded_item_group_ids=("g1", "g2")), "chair stool chairs table G1"),
    (Filter(item_group_ids=("g1",), excluded_product_ids=("vase",)), "vase-2"),
    (Filter(brands=("ödland",), prices=(price("USD"),)), "vase-2"),
    (Filter(product_ids=("vase",), excluded_product_ids=("vase",)), ""),
]


@pytest.mark.parametrize(("wanted", "expected"), CASES, ids=lambda value: "" if isinstance(value, Filter) else value)
async def test_a_filter_lets_through_what_matches_and_nothing_else(
    backend: Backend, wanted: Filter, expected: str
) -> None:
    selected = await backend.revision(SHOP).select(wanted)
    assert await ids_of(selected) == set(expected.split())
    assert selected.applied_filter is not None
    assert selected.applied_filter.plan.products == len(expected.split())


TEXTS = ahead(
    [
        product(f"id {text}", near(0.5), brand=text, item_group_id=f"group {text}", attributes={"note": text})
        for text in HOSTILE
    ]
)


async def test_texts_are_compared_as_they_are_whatever_characters_they_have(backend: Backend) -> None:
    snapshot = backend.revision(TEXTS)
    for text in HOSTILE:
        for wanted in (
            Filter(brands=(text,)),
            attribute("note", text),
            Filter(product_ids=(f"id {text}",)),
            Filter(item_group_ids=(f"group {text}",)),
        ):
            assert await ids_of(await snapshot.select(wanted)) == {f"id {text}"}, wanted
        remaining = await snapshot.select(Filter(excluded_product_ids=(f"id {text}",)))
        assert await ids_of(remaining) == {f"id {other}" for other in HOSTILE} - {f"id {text}"}


FORTY = ahead(many(40))


async def test_a_thousand_ids_are_one_condition(backend: Backend) -> None:
    names = [row.product.id for row in FORTY]
    absent = [f"'absent\" {number}" for number in range(1000)]
    snapshot = backend.revision(FORTY)
    assert await ids_of(await snapshot.select(Filter(product_ids=(*absent, names[3])))) == {names[3]}
    assert await ids_of(await snapshot.select(Filter(excluded_product_ids=(*absent, *names[1:])))) == {names[0]}


RANDOM = ahead(many(90, seed=5))
FILTERS = st.builds(
    Filter,
    brands=st.lists(st.sampled_from(["norrvik", "ÖDLAND", "nobody", *HOSTILE]), max_size=3).map(tuple),
    categories=st.lists(st.sampled_from(["Furniture", "Furniture > Chairs", "décor"]), max_size=2).map(tuple),
    prices=st.sampled_from([(), (price("USD", "10", "30"),), (price("EUR", "20.35"), price("USD", maximum="5"))]),
    availabilities=st.sampled_from([(), ("in stock",), ("out_of_stock", "in_stock")]),
    attributes=st.sampled_from([(), (AttributeCondition("color", ("red", "GREEN")),)]),
    item_group_ids=st.sampled_from([(), tuple(f"g{number}" for number in range(12))]),
    excluded_product_ids=st.lists(st.sampled_from([row.product.id for row in RANDOM]), max_size=9).map(tuple),
    excluded_item_group_ids=st.sampled_from([(), ("g1", "g2", "g3")]),
)


async def test_random_filters_give_what_plain_numpy_gives(backend: Backend) -> None:
    snapshot, reference = backend.revision(RANDOM), Reference().revision(RANDOM)

    @settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck), database=None)
    @given(FILTERS, st.integers(0, 1000), st.integers(1, 40))
    def compare(wanted: Filter, seed: int, k: int) -> None:
        drawn.append((wanted, seed, k))

    drawn: list[tuple[Filter, int, int]] = []
    compare()
    for wanted, seed, k in drawn:
        await compare_one(backend, snapshot, reference, wanted, seed, k)


async def compare_one(
    backend: Backend, snapshot: Snapshot, reference: Snapshot, wanted: Filter, seed: int, k: int
) -> None:
    selected, expected = await snapshot.select(wanted), await reference.select(wanted)
    query = unit_vectors(1, seed)
    [found], [right] = await selected.nearest(query, k), await expected.nearest(query, k)
    allowed = await ids_of(expected)
    assert set(ids(found)) <= allowed, "a product that is filtered out"
    if backend.exact:
        assert ids(found) == ids(right)


async def test_a_restricted_revision_is_that_revision(backend: Backend) -> None:
    snapshot = backend.revision(SHOP)
    assert await snapshot.select(Filter()) is snapshot
    assert snapshot.applied_filter is None
    selected = await snapshot.select(Filter(brands=("norrvik",)))
    assert await snapshot.select(Filter(brands=("norrvik",))) is selected, "so that queries share a batch"
    assert selected.applied_filter is not None
    assert selected.applied_filter.text == "brand=norrvik"
    assert await selected.select(Filter()) is selected
    with pytest.raises(SightlineError) as caught:
        await selected.select(Filter(brands=("nordhem",)))
    assert caught.value.kind is ErrorKind.INTERNAL
    facts = ("name", "revision", "built_at", "embedder", "dimension", "product_count", "capabilities")
    assert [getattr(selected, name) for name in facts] == [getattr(snapshot, name) for name in facts]
    [found] = await selected.nearest(unit_vectors(1, 4), 10)
    assert selected.products([each.row for each in found]) == snapshot.products([each.row for each in found])
    assert not len(selected.probes), "the exact answers of the whole revision are not those of a part"
