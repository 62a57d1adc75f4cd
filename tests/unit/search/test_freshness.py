"""The freshness check: acknowledged products are searched where callers' searches go, and judged fairly."""

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from numpy.typing import NDArray

from sightline_server.app.background import keep_checking_freshness
from sightline_server.app.batchers import search_all
from sightline_server.batching.batcher import MicroBatcher
from sightline_server.batching.window import Window
from sightline_server.domain.items import Neighbour, Product
from sightline_server.domain.living import LivingFigures
from sightline_server.domain.request import Lane
from sightline_server.errors import ErrorKind, SightlineError
from sightline_server.index.device_thread import DeviceThread
from sightline_server.index.opening import open_snapshot
from sightline_server.index.registry import Registry
from sightline_server.search import freshness as module
from sightline_server.search.freshness import FreshnessObserver, FreshnessProber, Missing
from sightline_server.stages.search import Found, VectorQuery
from sightline_server.telemetry.batches import BatcherMetrics
from sightline_server.telemetry.catalogs import CatalogMetrics
from sightline_server.telemetry.living import FRESHNESS_OUTCOMES, LivingMetrics
from sightline_server.telemetry.metrics import Metrics
from tests.support.catalogs import SPEC, row, unit_vectors, write_catalog
from tests.support.lens import FakeSnapshot, until

if TYPE_CHECKING:
    _observer: FreshnessObserver = LivingMetrics(Metrics().living)

FIGURES = LivingFigures(*(1,) * 13)
VECTOR = unit_vectors(1, 7, 4)[0]


@pytest.fixture(autouse=True)
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    """A search is soon repeated, and the next check is due at once."""
    monkeypatch.setattr(module, "FIRST_PAUSE_S", 0.001)
    monkeypatch.setattr(module, "EVERY_S", 0.0)


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """A check ends soon."""
    monkeypatch.setattr(module, "GIVE_UP_S", 0.5)


@dataclass
class Checked:
    """A registry whose writes are checked, as a process joins it, and its metrics."""

    metrics: Metrics
    registry: Registry
    queries: MicroBatcher[VectorQuery, Found]
    prober: FreshnessProber

    def count(self, outcome: str, catalog: str = "shop") -> float:
        """The counter of checks."""
        labels = {"catalog": catalog, "outcome": outcome}
        return self.metrics.registry.get_sample_value("sightline_catalog_freshness_checks_total", labels) or 0.0

    def checks(self, catalog: str = "shop") -> float:
        """All checks that ended."""
        return sum(self.count(outcome, catalog) for outcome in FRESHNESS_OUTCOMES)

    def seconds(self) -> float:
        """The sum of the histogram."""
        labels = {"catalog": "shop"}
        return self.metrics.registry.get_sample_value("sightline_catalog_freshness_seconds_sum", labels) or 0.0


Run = Callable[..., Awaitable[Sequence[Found]]]


@asynccontextmanager
async def checked(*, run: Run = search_all, max_waiting: int = 1024) -> AsyncIterator[Checked]:
    """A prober for the length of the block."""
    metrics = Metrics()
    registry = Registry(CatalogMetrics(metrics))
    window: Window[VectorQuery] = Window(max_batch=64, max_waiting=max_waiting, lanes=len(Lane))
    clock = asyncio.get_running_loop().time
    queries = MicroBatcher(run, window, slots=1, clock=clock, observer=BatcherMetrics(metrics.batches, "queries"))
    living = LivingMetrics(metrics.living)
    for name in ("shop", "other"):
        living.opened(name, FIGURES)
    async with AsyncExitStack() as stack:
        stack.push_async_callback(registry.close)
        stack.push_async_callback(queries.close)
        yield Checked(metrics, registry, queries, keep_checking_freshness(stack, registry, queries, living))


@dataclass
class Shelf(FakeSnapshot):
    """A snapshot of the products `ids`, in this order for each query, all of similarity `similarity`."""

    ids: list[str] = field(default_factory=list)
    similarity: float = 0.5

    async def nearest(
        self, queries: NDArray[np.float32], k: int, by_group: Sequence[bool] | None = None
    ) -> list[list[Neighbour]]:
        await super().nearest(queries, k, by_group)
        every = [Neighbour(place, place, self.similarity, each, "", "", place) for place, each in enumerate(self.ids)]
        return [every[:k] for _ in queries]

    def products(self, rows: Sequence[int]) -> list[Product]:
        return [Product(self.ids[each]) for each in rows]


@pytest.fixture
def device() -> Iterator[DeviceThread]:
    thread = DeviceThread()
    yield thread
    thread.close()


async def test_product_of_a_real_index_is_found_by_its_own_vector(tmp_path: Path, device: DeviceThread) -> None:
    rows = [row(f"p{number:03}", unit_vectors(2, number)) for number in range(60)]
    write_catalog(tmp_path / "shop", rows)
    async with checked() as live:
        live.registry.publish(await open_snapshot(tmp_path / "shop", "shop", SPEC, device))
        live.prober.acknowledged("shop", "p037", rows[37].embeddings[1])
        await until(lambda: live.checks() == 1)
        assert live.count("found") == 1
        assert 0 < live.seconds() < 5


async def test_outcomes_are_those_of_the_metric() -> None:
    assert set(FRESHNESS_OUTCOMES) == {"found", *(each.value for each in Missing)}


async def test_product_that_appears_late_is_found_with_its_delay() -> None:
    async with checked() as live:
        shelf = Shelf("shop", ids=["a"])
        live.registry.publish(shelf)
        live.prober.acknowledged("shop", "b", VECTOR)
        await until(lambda: len(shelf.queries) >= 3)
        assert live.checks() == 0
        shelf.ids.append("b")
        await until(lambda: live.checks() == 1)
        assert live.count("found") == 1
        assert live.seconds() >= 0.003, "three searches had not found it, with pauses between them"


async def test_each_search_is_of_the_view_that_is_current_then() -> None:
    async with checked() as live:
        old = Shelf("shop", ids=["a"])
        live.registry.publish(old)
        live.prober.acknowledged("shop", "b", VECTOR)
        await until(lambda: bool(old.queries))
        live.registry.publish(Shelf("shop", "rev-2", ids=["a", "b"]))
        await until(lambda: live.checks() == 1)
        assert live.count("found") == 1
        await until(lambda: old.closed)


@pytest.mark.usefixtures("impatient")
async def test_product_that_never_appears_is_missed_and_named_without_its_vector(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with checked() as live:
        live.registry.publish(Shelf("shop", ids=["a"]))
        with caplog.at_level(logging.INFO):
            live.prober.acknowledged("shop", "b\nforged", VECTOR)
            await until(lambda: live.checks() == 1)
        assert live.count("missed") == 1
        assert live.seconds() == 0
        (message,) = [each.getMessage() for each in caplog.records if each.levelno == logging.ERROR]
        assert message.startswith(r"catalog shop: product 'b\nforged' was not found within 0.5 s")
        for number in VECTOR:
            assert f"{number:.3f}" not in caplog.text


@pytest.mark.parametrize("ids", [["b"], ["a", "b"], None])
async def test_product_that_is_changed_during_its_check_is_not_judged(ids: list[str] | None) -> None:
    async with checked() as live:
        shelf = Shelf("shop", ids=["a"])
        live.registry.publish(shelf)
        live.prober.acknowledged("shop", "b", VECTOR)
        await until(lambda: bool(shelf.queries))
        with live.prober.changing("shop", ids):
            pass
        await until(lambda: live.checks() == 1)
        assert live.count("undecided") == 1


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize(("catalog", "ids"), [("shop", ["c"]), ("other", ["b"]), ("other", None)])
async def test_change_of_another_product_does_not_excuse_a_miss(catalog: str, ids: list[str] | None) -> None:
    async with checked() as live:
        shelf = Shelf("shop", ids=["a"])
        live.registry.publish(shelf)
        live.prober.acknowledged("shop", "b", VECTOR)
        await until(lambda: bool(shelf.queries))
        with live.prober.changing(catalog, ids):
            pass
        await until(lambda: live.checks() == 1)
        assert live.count("missed") == 1


@pytest.mark.parametrize("ids", [["b"], None])
async def test_product_whose_next_change_waits_is_not_checked(ids: list[str] | None) -> None:
    async with checked() as live:
        live.registry.publish(Shelf("shop", ids=["a", "c"]))
        with live.prober.changing("shop", ids), live.prober.changing("shop", ["b"]):
            live.prober.acknowledged("shop", "b", VECTOR)
        live.prober.acknowledged("shop", "c", VECTOR)
        await until(lambda: live.checks() == 1)
        assert live.count("found") == 1
        assert not live.prober._changing, "nothing is kept of changes that were written"


async def test_product_among_many_equal_images_is_not_judged() -> None:
    async with checked() as live:
        live.registry.publish(Shelf("shop", ids=[f"twin-{number}" for number in range(30)], similarity=1.0))
        live.prober.acknowledged("shop", "twin-z", VECTOR)
        await until(lambda: live.checks() == 1)
        assert live.count("undecided") == 1


@pytest.mark.parametrize("failure", [SightlineError(ErrorKind.INDEX_UNAVAILABLE, "gone"), ValueError("a defect")])
async def test_search_that_fails_is_not_late(failure: Exception) -> None:
    async with checked() as live:
        live.registry.publish(Shelf("shop", failure=failure))
        live.prober.acknowledged("shop", "b", VECTOR)
        await until(lambda: live.checks() == 1)
        assert live.count("failed") == 1


@pytest.mark.usefixtures("impatient")
async def test_catalog_that_is_gone_and_index_that_does_not_answer_are_failures() -> None:
    async with checked() as live:
        live.prober.acknowledged("other", "b", VECTOR)
        await until(lambda: live.count("failed", "other") == 1)
        shelf = Shelf("shop", ids=["b"])
        shelf.gate.clear()
        live.registry.publish(shelf)
        live.prober.acknowledged("shop", "b", VECTOR)
        await until(lambda: live.checks() == 1)
        assert live.count("failed") == 1
        shelf.gate.set()


async def test_check_goes_after_callers() -> None:
    lanes: list[Lane] = []
    async with checked() as live:
        submit = live.queries.submit

        async def seen(items: Sequence[VectorQuery], **given: Any) -> Any:
            lanes.append(given["lane"])
            return await submit(items, **given)

        live.queries.submit = seen  # type: ignore[method-assign]
        live.registry.publish(Shelf("shop", ids=["b"]))
        live.prober.acknowledged("shop", "b", VECTOR)
        await until(lambda: live.checks() == 1)
    assert lanes == [Lane.BATCH]


async def test_checks_of_all_catalogs_together_keep_to_the_rate(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "EVERY_S", 1.0)
    now, begun = 0.0, list[tuple[float, str]]()
    async with checked() as live:
        live.prober._clock = lambda: now
        for name in ("shop", "other"):
            live.registry.publish(Shelf(name, ids=["b"]))
        for tenth in range(200):
            now = tenth / 10
            for name in ("shop", "other"):
                before = live.checks(name)
                live.prober.acknowledged(name, "b", VECTOR)
                if running := live.prober._running.get(name):
                    begun.append((now, name))
                    await running[1]
                    assert live.checks(name) == before + 1
    assert 15 < len(begun) <= 21
    assert {sum(name == each for _, each in begun) for name in ("shop", "other")} <= {9, 10, 11}


async def test_one_check_of_a_catalog_runs_at_a_time() -> None:
    async with checked() as live:
        shelf = Shelf("shop", ids=["a"])
        shelf.gate.clear()
        live.registry.publish(shelf)
        for _ in range(50):
            live.prober.acknowledged("shop", "a", VECTOR)
        await shelf.started.wait()
        assert len(live.prober._running) == 1
        shelf.gate.set()
        await until(lambda: live.checks() == 1)
        assert shelf.queries == [1]


async def test_stop_ends_the_check_that_runs_and_frees_its_revision() -> None:
    shelf = Shelf("shop", ids=["a"])
    shelf.gate.clear()
    async with asyncio.timeout(30):
        async with checked() as live:
            live.registry.publish(shelf)
            live.prober.acknowledged("shop", "a", VECTOR)
            await shelf.started.wait()
    assert shelf.closed
    assert live.checks() == 0
    assert [task for task in asyncio.all_tasks() if task is not asyncio.current_task()] == []


async def test_vector_is_copied_and_not_shown() -> None:
    async with checked() as live:
        shelf = Shelf("shop", ids=["a"])
        shelf.gate.clear()
        live.registry.publish(shelf)
        given = VECTOR.copy()
        live.prober.acknowledged("shop", "a", given)
        sample, _ = live.prober._running["shop"]
        given[:] = 0
        assert np.array_equal(sample.embedding, VECTOR)
        assert "embedding" not in repr(sample)
        shelf.gate.set()
        await until(lambda: live.checks() == 1)
