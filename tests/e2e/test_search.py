"""The main job with the real parts: Triton, the real models, FAISS, a catalog built by the command, a real channel."""

import asyncio
import itertools
import urllib.request

import grpc
import pytest

from sightline.v1 import lens_service_pb2
from tests.support.pictures import encode
from tests.support.world import (
    PRODUCTS,
    WHOLE,
    Answer,
    RunningServer,
    World,
    asked,
    draw_photo,
    patient_search,
    product_id,
    search,
)

pytestmark = [pytest.mark.engine, pytest.mark.timeout(240)]
SAME = 1e-5
"""Scores of one query differ by less between batch sizes; products with a smaller difference may swap ranks."""


async def test_each_catalog_picture_finds_its_own_product_first(channel: grpc.aio.Channel, world: World) -> None:
    for number in range(PRODUCTS):
        answer = await search(channel, asked(world.picture(number), regions=[WHOLE]))
        (products,) = answer.products.values()
        assert products[0].product.id == product_id(number)
        assert products[0].similarity > 0.99
        assert products[0].product.price == "15.00 USD"
        assert products[0].matched_image == products[0].product.image_link == f"pictures/{product_id(number)}.png"
        assert [each.rank for each in products] == list(range(1, len(products) + 1))
        assert len({each.product.id for each in products}) == len(products) == 10


async def test_a_photo_goes_the_whole_way(channel: grpc.aio.Channel) -> None:
    answer = await search(channel, asked(encode(draw_photo(1), quality=92), max_products=3))
    assert 1 <= len(answer.objects) <= 8
    assert all(len(products) == 3 for products in answer.products.values())
    assert not answer.failures
    done = answer.done
    assert done.catalog_revision and "@" in done.detector and "@" in done.embedder
    assert done.timings.total_ms > done.timings.embed_ms > 0


async def test_a_filter_decides_which_products_a_photo_may_show(channel: grpc.aio.Channel, world: World) -> None:
    async def shown(filter_: lens_service_pb2.Filter) -> list[str]:
        request = asked(world.picture(0), regions=[WHOLE], max_products=PRODUCTS, filter=filter_)
        (products,) = (await search(channel, request)).products.values()
        return [each.product.id for each in products]

    every = await shown(lens_service_pb2.Filter())
    assert (every[0], len(every)) == (product_id(0), PRODUCTS)
    assert await shown(lens_service_pb2.Filter(excluded_product_ids=[product_id(0)])) == every[1:]
    assert await shown(lens_service_pb2.Filter(product_ids=every[4:7])) == every[4:7]
    for currency, maximum, count in (("USD", 15.0, PRODUCTS), ("USD", 14.99, 0), ("EUR", 99.0, 0)):
        price = lens_service_pb2.PriceRange(currency=currency, maximum=maximum)
        assert len(await shown(lens_service_pb2.Filter(price=price))) == count


async def test_batched_and_one_by_one_give_the_same_answers(channel: grpc.aio.Channel, world: World) -> None:
    photos = [encode(draw_photo(seed), quality=92) for seed in range(6)] + [world.picture(n) for n in range(6)]
    alone = [await search(channel, asked(photo)) for photo in photos]
    together = await asyncio.gather(*(patient_search(channel, asked(photo)) for photo in photos))
    for one, other in zip(alone, together, strict=True):
        assert_same(one, other)


def assert_same(one: Answer, other: Answer) -> None:
    """Same objects, and the same products in the same order wherever their similarities are apart."""
    assert [each.object_id for each in one.objects] == [each.object_id for each in other.objects]
    assert [each.label for each in one.objects] == [each.label for each in other.objects]
    for left, right in zip(one.objects, other.objects, strict=True):
        assert left.score == pytest.approx(right.score, abs=1e-4)
    for name, products in one.products.items():
        others = {each.product.id: each.similarity for each in other.products[name]}
        place = {each.product.id: index for index, each in enumerate(other.products[name])}
        for better, worse in itertools.pairwise(products):
            if better.score - worse.score > 2 * SAME:
                assert place[better.product.id] < place[worse.product.id]
        for each in products:
            assert each.similarity == pytest.approx(others[each.product.id], abs=SAME)


async def test_the_best_object_has_a_call_to_the_embedder_and_the_others_share_one(
    channel: grpc.aio.Channel, server: RunningServer, world: World
) -> None:
    before = scraped(server, "sightline_batch_size")
    await search(channel, asked(world.picture(0), regions=[WHOLE] * 5))
    after = scraped(server, "sightline_batch_size")
    crops = {name: after[name] - before.get(name, 0) for name in after if 'batcher="crops"' in name}
    assert crops['sightline_batch_size_sum{batcher="crops"}'] == 5
    assert crops['sightline_batch_size_count{batcher="crops"}'] == 2
    # The buckets are cumulative: one batch of 1 crop, one of 4.
    assert [crops[f'sightline_batch_size_bucket{{batcher="crops",le="{bound}.0"}}'] for bound in (1, 2, 4)] == [1, 1, 2]


def scraped(server: RunningServer, prefix: str) -> dict[str, float]:
    """The samples of /metrics whose name begins with `prefix`."""
    with urllib.request.urlopen(server.process.metrics_url, timeout=10) as answer:
        lines = answer.read().decode().splitlines()
    pairs = (line.rsplit(" ", 1) for line in lines if line.startswith(prefix))
    return {name: float(value) for name, value in pairs}


async def test_the_metrics_show_the_server_that_runs(
    channel: grpc.aio.Channel, server: RunningServer, world: World
) -> None:
    await search(channel, asked(world.picture(0)))
    samples = scraped(server, "sightline_")
    assert samples["sightline_engine_ready"] == 1
    assert samples["sightline_in_flight"] == 0
    assert samples['sightline_catalog_products{catalog="default"}'] == PRODUCTS
    assert samples['sightline_engine_provider{model="detector",provider="CPUExecutionProvider"}'] == 1
    assert samples['sightline_triton_transport{model="embedder",transport="shm"}'] == 1
    assert samples['sightline_requests_total{code="OK",method="Search"}'] >= 1
    assert any(name.startswith("sightline_build_info") for name in samples)
