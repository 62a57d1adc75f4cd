"""A filter through a real channel and a real index: what it lets through, what is said and counted about it."""

import asyncio
import json
import re
import subprocess
import sys
from collections.abc import AsyncIterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from sightline.v1 import lens_service_pb2
from sightline_client import (
    Answer,
    AsyncClient,
    Client,
    Filter,
    FilterPlan,
    FilterPlanKind,
    InvalidRequestError,
    PriceRange,
    parse_filter,
)
from sightline_server.domain.items import Product
from sightline_server.index.device_thread import DeviceThread
from sightline_server.index.opening import open_snapshot
from sightline_server.index.schema import CatalogRow, Price
from sightline_server.index.snapshot import CatalogSnapshot
from tests.support.asking import PHOTO, asked, events_of
from tests.support.catalogs import unit_vectors, write_catalog
from tests.support.lens import FakeEngine, Served, detections, serving

EMBEDDER = FakeEngine().embedder
COUNT = 60


def shop_row(number: int) -> CatalogRow:
    """Product n of the shop, whose every field follows from n."""
    price = Price(Decimal(number), "USD" if number % 2 else "EUR")
    product = Product(
        f"p{number:02}",
        brand=("Norrvik", "Nordhem", "")[number % 3],
        category=f"Furniture > {('Chairs', 'Tables')[number % 2]}",
        price=str(price),
        availability="in_stock" if number % 5 else "out_of_stock",
        item_group_id=f"g{number % 20}",
        attributes={"color": ("Red", "Blue/Red", "green")[number % 3]},
    )
    return CatalogRow(product, price, (f"{number}.jpg",), unit_vectors(1, number, dimension=4))


@pytest.fixture
async def index(tmp_path: Path) -> AsyncIterator[CatalogSnapshot]:
    write_catalog(tmp_path / "shop", [shop_row(number) for number in range(COUNT)], EMBEDDER)
    device = DeviceThread()
    opened = await open_snapshot(tmp_path / "shop", "default", EMBEDDER, device)
    yield opened
    await opened.close()
    device.close()


def wanted(**fields: Any) -> lens_service_pb2.Filter:
    return lens_service_pb2.Filter(**fields)


def usd(**bounds: float) -> lens_service_pb2.PriceRange:
    return lens_service_pb2.PriceRange(currency="USD", **bounds)


def color(*values: str) -> list[lens_service_pb2.AttributeCondition]:
    return [lens_service_pb2.AttributeCondition(name="color", values=values)]


CASES: dict[str, tuple[lens_service_pb2.Filter, set[int]]] = {
    "brand": (wanted(brands=["norrvik"]), {n for n in range(COUNT) if n % 3 == 0}),
    "category": (wanted(categories=["Furniture > Tables"]), {n for n in range(COUNT) if n % 2}),
    "price": (wanted(price=usd(minimum=10, maximum=20)), set(range(11, 20, 2))),
    "prices": (
        wanted(price=usd(maximum=5), prices=[lens_service_pb2.PriceRange(currency="EUR", maximum=4)]),
        {0, 1, 2, 3, 4, 5},
    ),
    "availability": (wanted(availabilities=["out_of_stock"]), set(range(0, COUNT, 5))),
    "attribute": (wanted(attributes=color("red")), {n for n in range(COUNT) if n % 3 < 2}),
    "ids": (wanted(product_ids=["p07", "p41", "zz"]), {7, 41}),
    "group": (wanted(item_group_ids=["g3"]), {3, 23, 43}),
    "excluded": (
        wanted(item_group_ids=["g3", "g4"], excluded_item_group_ids=["g4"], excluded_product_ids=["p23"]),
        {3, 43},
    ),
    "all of them": (
        wanted(brands=["Norrvik"], price=usd(maximum=30), availabilities=["in_stock"], excluded_product_ids=["p09"]),
        {3, 21, 27},
    ),
    "an unknown currency": (wanted(price=lens_service_pb2.PriceRange(currency="XXX")), set()),
    "an unknown category": (wanted(categories=["Garden"]), set()),
    "an unknown attribute": (
        wanted(attributes=[lens_service_pb2.AttributeCondition(name="colour", values=["red"])]),
        set(),
    ),
}


async def answer(served: Served, **fields: Any) -> tuple[list[set[str]], lens_service_pb2.Done]:
    """The product ids of each object, and Done."""
    events = await events_of(served.search(asked(max_products=100, **fields)))
    shown = [{each.product.id for each in event.results.products} for event in events if event.HasField("results")]
    return shown, events[-1].done


async def test_every_object_shows_all_that_match_and_nothing_else(index: CatalogSnapshot) -> None:
    async with serving(index=index) as served:
        for filter_, expected in CASES.values():
            shown, done = await answer(served, filter=filter_)
            assert shown == [{f"p{number:02}" for number in expected}] * 2
            assert done.filter_plan.products == len(expected)
            assert done.applied_filter
        name = index.name
        gathered = served.value("filtered_searches_total", catalog=name, plan="gather")
        assert gathered == sum(bool(kept) for _, kept in CASES.values())
        assert served.value("filtered_searches_total", catalog=name, plan="no_match") == 3


async def test_done_says_which_filter_was_applied_and_how(index: CatalogSnapshot) -> None:
    async with serving(index=index) as served:
        _, done = await answer(served, filter=wanted(brands=["norrvik"], price=usd(maximum=30)))
        assert done.applied_filter == "brand=norrvik price=..30 USD"
        assert done.filter_plan == lens_service_pb2.FilterPlan(
            kind=lens_service_pb2.FILTER_PLAN_KIND_GATHER, products=5, images=5
        )
        _, done = await answer(served, filter=wanted(categories=["Furniture"]))
        assert done.filter_plan.kind == lens_service_pb2.FILTER_PLAN_KIND_ALL
        for none in ({}, {"filter": wanted()}):
            shown, done = await answer(served, **none)
            assert [len(ids) for ids in shown] == [COUNT, COUNT]
            assert (done.applied_filter, done.HasField("filter_plan")) == ("", False)


async def test_a_filter_on_photos_without_objects_is_echoed_as_well(index: CatalogSnapshot) -> None:
    async with serving(index=index) as served:
        served.engine.models["detector"].usual = lambda parts: detections(len(parts), ((0.1, 0.1, 0.9, 0.9), 0.9, 2))
        shown, done = await answer(served, filter=wanted(brands=["Norrvik"]))
        assert shown == []
        assert (done.applied_filter, done.filter_plan.products) == ("brand=Norrvik", 20)


async def test_calls_with_different_filters_share_a_server_and_each_gets_its_own(index: CatalogSnapshot) -> None:
    async with serving(index=index) as served:
        cases = [*CASES.values(), (wanted(), set(range(COUNT)))]
        for start in range(0, len(cases), 4):
            part = cases[start : start + 4] * 2
            answers = await asyncio.gather(*(answer(served, filter=each) for each, _ in part))
            for (shown, _), (_, kept) in zip(answers, part, strict=True):
                assert shown == [{f"p{number:02}" for number in kept}] * 2


async def test_one_per_group_counts_the_groups_that_match(index: CatalogSnapshot) -> None:
    async with serving(index=index) as served:
        shown, _ = await answer(served, filter=wanted(item_group_ids=["g1", "g2"]), one_per_group=True)
        for ids in shown:
            assert len(ids) == 2
            assert {int(each[1:]) % 20 for each in ids} == {1, 2}


WANTED = Filter(brands=["NORRVIK"], prices=[PriceRange("USD", maximum=30)], attributes={"color": ["red"]})


async def test_the_client_sends_a_typed_filter_and_reads_what_was_applied(index: CatalogSnapshot) -> None:
    async with serving(index=index) as served, AsyncClient(served.address) as client:
        found = await client.find(PHOTO, filter=WANTED)
        assert [{each.product.id for each in one.products} for one in found.objects] == [MATCHES] * 2
        assert found.done is not None
        assert found.done.applied_filter == "brand=NORRVIK price=..30 USD color=red"
        assert found.done.filter_plan == FilterPlan(FilterPlanKind.GATHER, 5, 5)
        again = await client.find(PHOTO, filter=parse_filter(found.done.applied_filter))
        assert [one.products for one in again.objects] == [one.products for one in found.objects]
        unfiltered = await client.find(PHOTO, filter=None)
        assert unfiltered.done is not None
        assert (unfiltered.done.applied_filter, unfiltered.done.filter_plan) == ("", None)
        with pytest.raises(InvalidRequestError) as caught:
            await client.find(PHOTO, filter=Filter(prices=[PriceRange("$")]))
        assert [each.field for each in caught.value.violations] == ["filter.price.currency"]


MATCHES = {"p03", "p09", "p15", "p21", "p27"}


async def test_the_blocking_client_sends_it_too(index: CatalogSnapshot) -> None:
    def find(address: str) -> Answer:
        with Client(address) as client:
            return client.find(PHOTO, filter=WANTED)

    async with serving(index=index) as served:
        found = await asyncio.to_thread(find, served.address)
    assert [{each.product.id for each in one.products} for one in found.objects] == [MATCHES] * 2


async def test_the_command_filters(index: CatalogSnapshot, tmp_path: Path) -> None:
    (tmp_path / "photo.png").write_bytes(PHOTO)
    async with serving(index=index) as served:
        ran = await asyncio.to_thread(
            subprocess.run,
            [
                *(sys.executable, "-m", "sightline_client.cli", "search", str(tmp_path / "photo.png")),
                *("--target", served.address, "--json", "--filter", "brand=Norrvik price<=50 USD available"),
            ],
            capture_output=True,
            timeout=30,
            check=False,
        )
    assert ran.returncode == 0, ran.stderr
    events = [json.loads(line) for line in ran.stdout.splitlines()]
    results = [event["results"]["products"] for event in events if "results" in event]
    expected = {f"p{n:02}" for n in range(3, 51, 6) if n % 5}
    assert [{each["product"]["id"] for each in products} for products in results] == [expected] * 2


@pytest.mark.parametrize(
    ("wrong", "field"),
    [
        ("brand=a", "filter"),
        (Filter(brands="Norrvik"), "filter.brands"),
        (Filter(brands=["a", 5]), "filter.brands[1]"),  # type: ignore[list-item]
        (Filter(product_ids={"p1"}), "filter.product_ids"),  # type: ignore[arg-type]
        (Filter(prices=PriceRange("USD")), "filter.prices"),  # type: ignore[arg-type]
        (Filter(prices=[50]), "filter.prices[0]"),  # type: ignore[list-item]
        (Filter(prices=[PriceRange("USD", maximum="50")]), "filter.prices[0].maximum"),  # type: ignore[arg-type]
        (Filter(prices=[PriceRange(5)]), "filter.prices[0].currency"),  # type: ignore[arg-type]
        (Filter(attributes=["color"]), "filter.attributes"),  # type: ignore[arg-type]
        (Filter(attributes={"color": "red"}), "filter.attributes['color']"),
        (Filter(brands=["x" * (1 << 20)]), "filter"),
    ],
)
async def test_a_filter_that_cannot_be_sent_is_an_error_of_its_field(wrong: Any, field: str) -> None:
    async with AsyncClient("127.0.0.1:1") as client:
        with pytest.raises(InvalidRequestError) as caught:
            await client.find(PHOTO, filter=wrong)
    assert [each.field for each in caught.value.violations] == [field]


async def test_the_example_of_the_documentation_runs(tmp_path: Path) -> None:
    [page] = (Path(__file__).parents[2] / "docs").rglob("filters.md")
    [example] = re.findall(r"```python\n(.*?)```", page.read_text(encoding="utf-8"), re.DOTALL)
    (tmp_path / "room.jpg").write_bytes(PHOTO)
    async with serving() as served:
        ran = await asyncio.to_thread(
            subprocess.run,
            [sys.executable, "-c", example.replace("127.0.0.1:50051", served.address)],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
        )
    assert ran.returncode == 0, ran.stderr
    assert "chair []" in ran.stdout
    assert (
        'applied: brand="Green Room",Kilnside availability=in_stock price=..50 USD material=ceramic,terracotta'
        in ran.stdout
    )
    commands = re.findall(r"--filter '(.*)'", page.read_text(encoding="utf-8"))
    assert len(commands) == 3
    for text in commands:
        parse_filter(text)
