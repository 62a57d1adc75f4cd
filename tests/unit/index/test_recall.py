"""The live recall: probes go where callers' searches go, and a bad index behind the self-check is named."""

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from numpy.typing import NDArray

from sightline_server.app.background import keep_measuring_recall
from sightline_server.app.batchers import search_all
from sightline_server.batching.batcher import MicroBatcher
from sightline_server.batching.window import Window
from sightline_server.domain.probes import Probes
from sightline_server.domain.request import Lane
from sightline_server.errors import ErrorKind, SightlineError
from sightline_server.index import opening
from sightline_server.index.catalog import open_catalog
from sightline_server.index.choice import choosing
from sightline_server.index.device_thread import DeviceThread
from sightline_server.index.faiss_index import FaissIndex
from sightline_server.index.opening import open_snapshot
from sightline_server.index.registry import Registry, RegistryObserver
from sightline_server.index.snapshot import CatalogSnapshot
from sightline_server.index.vectors import VectorIndex
from sightline_server.search import recall as recall_module
from sightline_server.search.recall import RecallObserver, RecallProber
from sightline_server.stages.search import Found, VectorQuery
from sightline_server.telemetry.batches import BatcherMetrics
from sightline_server.telemetry.catalogs import CatalogMetrics
from sightline_server.telemetry.metrics import Metrics
from tests.support.catalogs import SPEC, row, unit_vectors, write_catalog
from tests.support.lens import FakeSnapshot, serving, until

ROWS = [row(f"p{number:03}", unit_vectors(1, number)) for number in range(400)]
NEVER_AGAIN_S = 3600.0


class ForgetfulIndex(FaissIndex):
    """An index that dropped every fifth row: each health check is green, and its similarities are right."""

    exact = True

    def search(self, queries: NDArray[np.float32], k: int) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
        similarities, rows = super().search(queries, self.max_k)
        kept = [found[found % 5 != 0][:k] for found in rows]
        filled = np.full((len(queries), k), -1, np.int64)
        shown = np.full((len(queries), k), -1.0, np.float32)
        for place, found in enumerate(kept):
            filled[place, : len(found)] = found
            shown[place, : len(found)] = similarities[place][np.isin(rows[place], found)][:k]
        return shown, filled


if TYPE_CHECKING:
    _index: VectorIndex = ForgetfulIndex(np.zeros((1, 1), np.float16), use_gpu=False)
    _prober: Callable[..., RegistryObserver] = RecallProber
    _observer: RecallObserver = CatalogMetrics(Metrics())


@pytest.fixture
def device() -> Iterator[DeviceThread]:
    thread = DeviceThread()
    yield thread
    thread.close()


@dataclass
class Measured:
    """A registry that is measured, as `app/parts.py` joins it, and its metrics."""

    metrics: Metrics
    registry: Registry
    queries: MicroBatcher[VectorQuery, Found]

    def recall(self, catalog: str = "shop") -> float | None:
        """The gauge; None where it is absent."""
        return self.metrics.registry.get_sample_value("sightline_recall_at_10", {"catalog": catalog})

    def sets(self, outcome: str = "measured", catalog: str = "shop") -> float:
        """The counter of sets."""
        labels = {"catalog": catalog, "outcome": outcome}
        return self.metrics.registry.get_sample_value("sightline_recall_sets_total", labels) or 0.0


Run = Callable[..., Awaitable[Sequence[Found]]]


@asynccontextmanager
async def measured(
    every_s: float = NEVER_AGAIN_S, *, run: Run = search_all, max_batch: int = 256, max_waiting: int = 1024
) -> AsyncIterator[Measured]:
    """Measures from now on, for the length of the block."""
    metrics = Metrics()
    observer = CatalogMetrics(metrics)
    registry = Registry(observer)
    window: Window[VectorQuery] = Window(max_batch=max_batch, max_waiting=max_waiting, lanes=len(Lane))
    clock = asyncio.get_running_loop().time
    queries = MicroBatcher(run, window, slots=1, clock=clock, observer=BatcherMetrics(metrics.batches, "queries"))
    async with AsyncExitStack() as stack:
        stack.push_async_callback(registry.close)
        stack.push_async_callback(queries.close)
        keep_measuring_recall(stack, registry, queries, observer, every_s)
        yield Measured(metrics, registry, queries)


def fake(name: str = "shop", revision: str = "1-abc", probes: int = 256, **fields: Any) -> FakeSnapshot:
    """A snapshot that always finds its five products, which are right."""
    given = Probes(unit_vectors(probes, 3, 4), np.tile(np.arange(5, dtype=np.int32), (probes, 1)), 5)
    return FakeSnapshot(name, revision, probes=given, **fields)


async def opened(path: Path, device: DeviceThread) -> CatalogSnapshot:
    return await open_snapshot(path, "shop", SPEC, device)


def write(path: Path, *, again: bool = False) -> Path:
    write_catalog(path, ROWS[1:] if again else ROWS, replace=again)
    return path


async def test_an_exact_index_is_measured_as_one(tmp_path: Path, device: DeviceThread) -> None:
    async with measured() as live:
        assert live.recall() is None, "absent before the first set"
        live.registry.publish(await opened(write(tmp_path / "shop"), device))
        await until(lambda: live.sets() == 1)
        assert live.recall() == 1.0


async def test_an_index_that_drops_rows_is_refused_by_the_gate(
    tmp_path: Path, device: DeviceThread, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(choosing, "FaissIndex", ForgetfulIndex)
    path = write(tmp_path / "shop")
    with pytest.raises(SightlineError, match="the self-check of catalog shop failed"):
        await opened(path, device)


async def test_an_index_that_drops_rows_behind_the_gate_is_named_by_the_gauge(
    tmp_path: Path, device: DeviceThread, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    path = write(tmp_path / "shop")
    async with measured() as live:
        live.registry.publish(await opened(path, device))
        await until(lambda: live.sets() == 1)
        with monkeypatch.context() as patch:
            patch.setattr(choosing, "FaissIndex", ForgetfulIndex)
            patch.setattr(opening, "checked", lambda *given: 1.0)
            bad = await opened(write(path, again=True), device)
        live.registry.publish(bad)
        assert live.recall() is None, "the value of the earlier revision would hide this one"
        await until(lambda: live.sets() == 2)
        assert 0.5 < (live.recall() or 0.0) < 0.95
        assert f"catalog shop: revision {bad.revision} finds" in caplog.text
        live.registry.publish(await opened(path, device))
        await until(lambda: live.sets() == 3)
        assert live.recall() == 1.0


async def test_an_index_that_begins_to_drop_rows_is_named_by_the_next_set(
    tmp_path: Path, device: DeviceThread, caplog: pytest.LogCaptureFixture
) -> None:
    snapshot = await opened(write(tmp_path / "shop"), device)
    catalog = open_catalog(tmp_path / "shop")
    async with measured(every_s=0.001) as live:
        live.registry.publish(snapshot)
        await until(lambda: live.recall() == 1.0)
        good, bad = snapshot.index, device.call(lambda: ForgetfulIndex(catalog.vectors, use_gpu=False))
        snapshot.index = bad
        await until(lambda: (live.recall() or 1.0) < 0.95)
        sets = live.sets()
        await until(lambda: live.sets() > sets + 5)
        errors = [record for record in caplog.records if record.levelno == logging.ERROR]
        assert len(errors) == 1, "reported once, not with each set"
        assert errors[0].getMessage().startswith("catalog shop: revision ")
        snapshot.index = good
        with caplog.at_level(logging.INFO):
            await until(lambda: live.recall() == 1.0)
            await until(lambda: "live recall@10 1.000 again" in caplog.text)


async def test_the_sets_take_turns_through_all_probes_in_the_batch_lane() -> None:
    lanes, asked = [], []
    async with measured(every_s=0.001) as live:
        submit = live.queries.submit

        async def seen(items: Sequence[VectorQuery], **given: Any) -> Any:
            lanes.append(given["lane"])
            asked.append([each.embedding.tobytes() for each in items])
            return await submit(items, **given)

        live.queries.submit = seen  # type: ignore[method-assign]
        live.registry.publish(fake(probes=40))
        await until(lambda: len(asked) >= 5)
    assert set(lanes) == {Lane.BATCH}
    assert {len(each) for each in asked} == {16}
    assert len(set(asked[0] + asked[1] + asked[2])) == 40


@pytest.mark.parametrize(("probes", "max_batch", "expected"), [(256, 256, 16), (3, 256, 3), (256, 4, 4)])
async def test_a_set_fits_into_a_batch(probes: int, max_batch: int, expected: int) -> None:
    async with measured(max_batch=max_batch) as live:
        snapshot = fake(probes=probes)
        live.registry.publish(snapshot)
        await until(lambda: live.sets() == 1)
        assert snapshot.queries == [expected]


async def test_a_set_on_a_replaced_revision_ends_and_its_lease_with_it() -> None:
    async with measured() as live:
        old, new = fake(), fake(revision="2-def")
        old.gate.clear()
        live.registry.publish(old)
        await old.started.wait()
        live.registry.publish(new)
        await until(lambda: old.closed)
        assert live.sets() == 0
        old.gate.set()
        await until(lambda: live.sets() == 1)
        assert (new.queries, live.recall(), live.sets("failed")) == ([16], 1.0, 0)


async def test_a_stop_ends_the_set_that_runs_and_frees_its_revision() -> None:
    snapshot = fake()
    snapshot.gate.clear()
    async with asyncio.timeout(30):
        async with measured() as live:
            live.registry.publish(snapshot)
            await snapshot.started.wait()
    assert snapshot.closed
    assert (live.sets(), live.sets("failed")) == (0, 0)
    assert [task for task in asyncio.all_tasks() if task is not asyncio.current_task()] == []


async def test_one_set_runs_at_a_time_whatever_the_number_of_catalogs() -> None:
    running, most = 0, 0

    async def counted(items: Sequence[VectorQuery], *, deadline: float) -> Sequence[Found]:
        nonlocal running, most
        running += len({id(each.snapshot) for each in items})
        most = max(most, running)
        await asyncio.sleep(0)
        answer = await search_all(items, deadline=deadline)
        running -= len({id(each.snapshot) for each in items})
        return answer

    async with measured(every_s=0.001, run=counted) as live:
        for name in "abc":
            live.registry.publish(fake(name))
        await until(lambda: all(live.sets(catalog=name) > 3 for name in "abc"))
    assert most == 1


@pytest.mark.parametrize("failure", [SightlineError(ErrorKind.INDEX_UNAVAILABLE, "gone"), ValueError("a defect")])
async def test_a_failing_catalog_is_counted_and_the_others_are_measured(failure: Exception) -> None:
    async with measured() as live:
        live.registry.publish(fake("broken", failure=failure))
        live.registry.publish(fake())
        await until(lambda: live.sets() >= 1)
        assert live.sets("failed", "broken") >= 1
        assert live.recall("broken") is None
        assert live.recall() == 1.0


async def test_a_full_queue_leaves_a_set_out_and_the_value_stays() -> None:
    async with measured(max_waiting=16) as live:
        live.registry.publish(fake())
        await until(lambda: live.recall() == 1.0)
        busy = FakeSnapshot("other")
        busy.gate.clear()
        query = VectorQuery(busy, unit_vectors(1, 1, 4)[0], 5)
        running = asyncio.create_task(live.queries.submit([query], deadline=1e12))
        await busy.started.wait()
        waiting = asyncio.create_task(live.queries.submit([query], deadline=1e12))
        await until(lambda: live.queries.waiting == 1)
        live.registry.publish(fake("another", probes=0))
        await until(lambda: live.sets("failed") == 1)
        assert (live.recall(), live.sets()) == (1.0, 1)
        busy.gate.set()
        await asyncio.gather(running, waiting)
        live.registry.publish(fake("another", probes=0))
        await until(lambda: live.sets() == 2)


async def test_an_index_that_does_not_answer_is_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recall_module, "DEADLINE_S", 0.05)
    async with measured() as live:
        snapshot = fake()
        snapshot.gate.clear()
        live.registry.publish(snapshot)
        await until(lambda: live.sets("failed") == 1)
        snapshot.gate.set()


async def test_a_set_that_waits_too_long_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recall_module, "DEADLINE_S", -1.0)
    async with measured() as live:
        live.registry.publish(fake())
        await until(lambda: live.sets("failed") == 1)
        assert live.recall() is None


async def test_a_catalog_without_probes_has_no_series() -> None:
    async with measured() as live:
        live.registry.publish(fake("empty", probes=0))
        live.registry.publish(fake())
        await until(lambda: live.sets() == 1)
        assert live.recall("empty") is None


async def test_an_interval_of_zero_measures_nothing() -> None:
    async with measured(every_s=0) as live:
        snapshot = fake()
        live.registry.publish(snapshot)
        await asyncio.sleep(0)
        assert len(asyncio.all_tasks()) == 1
        assert snapshot.queries == []


async def test_the_parts_of_a_process_measure_what_they_serve() -> None:
    async with serving(index=fake()) as served:
        await until(lambda: served.value("recall_sets_total", catalog="shop", outcome="measured") == 1)
        assert served.value("recall_at_10", catalog="shop") == 1.0
