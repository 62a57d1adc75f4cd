"""One revision from the first event of a call to the last, also where the catalog is replaced in its middle."""

import asyncio
from typing import Any

import grpc
import pytest

from sightline_server.errors import ErrorKind, SightlineError
from tests.support.asking import asked, events_of, kinds
from tests.support.lens import FakeSnapshot, failed, serving, until


def revisions(events: list[Any]) -> set[tuple[str, str]]:
    """Catalog and revision of every event that names them."""
    named = [event.accepted for event in events if event.HasField("accepted")]
    named += [event.done for event in events if event.HasField("done")]
    assert len(named) == 2
    return {(each.catalog, each.catalog_revision) for each in named}


def titles(events: list[Any]) -> list[str]:
    """Titles of all products; the fake snapshot writes its revision into them."""
    return [each.product.title for event in events for each in event.results.products]


@pytest.mark.parametrize("model", ["detector", "embedder"])
async def test_a_revision_that_is_replaced_in_the_middle_of_a_stream_answers_it_to_its_end(model: str) -> None:
    new = FakeSnapshot(revision="rev-2")
    async with serving() as served:
        served.engine.models[model].gate.clear()
        call = served.search(asked())
        first = await call.read()
        await served.engine.models[model].started.wait()
        served.catalogs.publish(new)
        later = served.search(asked())
        second = await later.read()
        served.engine.models[model].gate.set()
        held, current = [first, *await events_of(call)], [second, *await events_of(later)]
        assert revisions(held) == {("default", "rev-1")}
        assert revisions(current) == {("default", "rev-2")}
        assert all("of rev-1" in title for title in titles(held))
        assert all("of rev-2" in title for title in titles(current))
        await until(lambda: served.index.closed)
        assert served.value("catalog_revisions", catalog="default") == 1
        assert served.value("catalog_info", catalog="default", revision="rev-2") == 1
        assert served.value("catalog_info", catalog="default", revision="rev-1") == 0


async def test_two_revisions_share_a_batch_and_each_answers_its_own() -> None:
    async with serving() as served:
        embedder = served.engine.models["embedder"]
        embedder.gate.clear()
        calls = [served.search(asked())]
        await embedder.started.wait()
        for number in range(2, 5):
            served.catalogs.publish(FakeSnapshot(revision=f"rev-{number}"))
            calls.append(served.search(asked()))
            await calls[-1].read()
            await until(lambda: served.crops.waiting == 2 * (number - 1))  # noqa: B023
        embedder.gate.set()
        answers = await asyncio.gather(*(events_of(call) for call in calls))
        for number, events in enumerate(answers, start=1):
            assert events[-1].done.catalog_revision == f"rev-{number}"
            assert all(f"of rev-{number}" in title for title in titles(events))
        assert embedder.batches == [2, 6], "the objects of three revisions were one batch"


async def test_a_caller_who_leaves_gives_its_lease_back() -> None:
    async with serving() as served:
        detector = served.engine.models["detector"]
        detector.gate.clear()
        call = served.search(asked())
        await call.read()
        await detector.started.wait()
        served.catalogs.publish(FakeSnapshot(revision="rev-2"))
        assert not served.index.closed
        call.cancel()
        await until(lambda: served.index.closed)
        detector.gate.set()


async def test_the_request_chooses_among_catalogs() -> None:
    shops = [FakeSnapshot(name, f"{name}-1") for name in ("b", "c")]
    catalogs = {name: {"path": f"/{name}"} for name in ("a", "b", "c")}
    async with serving(index=FakeSnapshot("a", "a-1"), others=shops, catalogs=catalogs) as served:
        for asked_for, expected in (("", "a"), ("a", "a"), ("b", "b"), ("c", "c")):
            events = await events_of(served.search(asked(catalog=asked_for)))
            assert kinds(events)[-1] == "done"
            assert revisions(events) == {(expected, f"{expected}-1")}
        error = await failed(served.search(asked(catalog="d")))
        assert (error.events, error.code) == ([], grpc.StatusCode.NOT_FOUND)
        for name in ("a", "b", "c"):
            assert served.value("catalog_products", catalog=name) == 5
        assert served.metrics.registry.get_sample_value("sightline_catalog_products", {"catalog": "d"}) is None


async def test_a_catalog_that_fails_fails_only_its_own_callers() -> None:
    gone = SightlineError(ErrorKind.INDEX_UNAVAILABLE, "the index failed", retry_after_s=1.0)
    broken = FakeSnapshot("b", failure=gone)
    catalogs = {name: {"path": f"/{name}"} for name in ("a", "b")}
    async with serving(index=FakeSnapshot("a"), others=[broken], catalogs=catalogs) as served:
        embedder = served.engine.models["embedder"]
        embedder.gate.clear()
        first = served.search(asked())
        await embedder.started.wait()
        calls = [served.search(asked(catalog=name)) for name in ("a", "b")]
        for call in calls:
            await call.read()
        await until(lambda: served.crops.waiting == 4)
        embedder.gate.set()
        assert kinds(await events_of(first))[-1] == "done"
        assert kinds(await events_of(calls[0])) == ["detected", "results", "results", "done"]
        error = await failed(calls[1])
        assert (error.events, error.code) == (["detected"], grpc.StatusCode.UNAVAILABLE)
