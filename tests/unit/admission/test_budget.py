"""The budget of bytes: never exceeded, given back whatever happens, and shared fairly while it is short."""

import asyncio
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sightline_server.admission import budget as budgets
from sightline_server.admission.budget import ByteBudget, Reservation
from tests.support.lens import until


class Bench:
    """A budget of 100 bytes on its own clock, and the reads that had to yield."""

    def __init__(self, total: int = 100) -> None:
        self.now = 0.0
        self.told: list[int] = []
        self.gone: list[str] = []
        self.budget = ByteBudget(total, clock=lambda: self.now, on_used=self.told.append)

    async def reserve(self, owner: str = "a", size: int = 50) -> Reservation:
        return await self.budget.reserve(size, owner, lambda: self.gone.append(owner))

    def waiting(self, owner: str = "a", size: int = 50) -> "asyncio.Task[Reservation]":
        return asyncio.create_task(self.reserve(owner, size))


async def test_bytes_are_reserved_and_given_back() -> None:
    bench = Bench()
    first, second = await bench.reserve(), await bench.reserve()
    assert bench.budget.used == 100
    bench.budget.was_read(first, 10)
    assert bench.budget.used == 60
    bench.budget.release(first)
    bench.budget.release(second)
    assert bench.budget.used == 0
    assert bench.told == [50, 100, 60, 50, 0]


async def test_a_read_waits_for_its_bytes_and_what_was_read_makes_room() -> None:
    bench = Bench()
    first, _ = await bench.reserve(), await bench.reserve()
    third = bench.waiting()
    await until(lambda: bench.budget.waiting == 1)
    assert not third.done()
    bench.budget.was_read(first, 0)
    assert (await third).size == 50
    assert bench.budget.used == 100


async def test_nobody_overtakes_a_read_that_waits_for_many_bytes() -> None:
    bench = Bench()
    held = await bench.reserve(size=60)
    large = bench.waiting("a", 80)
    await until(lambda: bench.budget.waiting == 1)
    small = bench.waiting("a", 20)
    await until(lambda: bench.budget.waiting == 2)
    assert bench.budget.reserve_now(20, "b", lambda: None) is None
    bench.budget.release(held)
    await large
    await small
    assert bench.budget.used == 100


async def test_connections_take_turns() -> None:
    bench = Bench(total=50)
    held = await bench.reserve("greedy")
    order: list[str] = []

    async def one(owner: str) -> None:
        mine = await bench.reserve(owner)
        order.append(owner)
        bench.budget.release(mine)

    tasks = []
    for number, owner in enumerate(["greedy", "greedy", "greedy", "modest", "other"], start=1):
        tasks.append(asyncio.create_task(one(owner)))
        await until(lambda number=number: bench.budget.waiting == number)  # type: ignore[misc]
    bench.budget.release(held)
    await asyncio.gather(*tasks)
    assert order == ["greedy", "modest", "other", "greedy", "greedy"]
    assert bench.budget.used == 0


async def test_a_connection_that_holds_less_goes_first() -> None:
    bench = Bench()
    first, _ = await bench.reserve("greedy"), await bench.reserve("greedy")
    tasks = [bench.waiting("greedy"), bench.waiting("modest")]
    await until(lambda: bench.budget.waiting == 2)
    bench.budget.release(first)
    await until(lambda: tasks[1].done())
    assert not tasks[0].done()
    tasks[0].cancel()


async def test_who_stops_waiting_leaves_nothing_behind() -> None:
    bench = Bench(total=50)
    held = await bench.reserve()
    gone, stays = bench.waiting("a"), bench.waiting("b")
    await until(lambda: bench.budget.waiting == 2)
    # Cancelled and granted in the same moment, either way round.
    gone.cancel()
    bench.budget.release(held)
    bench.budget.release(await stays)
    assert (bench.budget.used, bench.budget.waiting) == (0, 0)
    held = await bench.reserve()
    gone = bench.waiting("a")
    await until(lambda: bench.budget.waiting == 1)
    bench.budget.release(held)
    gone.cancel()
    with pytest.raises(asyncio.CancelledError):
        await gone
    assert (bench.budget.used, bench.budget.waiting) == (0, 0)


async def test_old_reads_give_way_while_others_wait_and_only_as_many_as_are_needed() -> None:
    bench = Bench(total=150)
    reads = [await bench.reserve(owner) for owner in ("oldest", "old", "new")]
    bench.now += budgets.PATIENCE_S
    waiting = [bench.waiting("x"), bench.waiting("y")]
    await until(lambda: bench.budget.waiting == 2)
    assert bench.gone == ["oldest", "old"]
    for read in reads[:2]:
        bench.budget.release(read)
    await asyncio.gather(*waiting)
    assert bench.gone == ["oldest", "old"]


async def test_a_young_read_gives_way_when_its_time_has_come(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(budgets, "PATIENCE_S", 0.02)
    bench = Bench(total=50)
    held = await bench.reserve("slow")
    waiting = bench.waiting("next")
    await until(lambda: bench.budget.waiting == 1)
    assert bench.gone == []
    bench.now += 0.02
    await until(lambda: bench.gone == ["slow"])
    bench.budget.release(held)
    await waiting


async def test_a_message_that_is_there_does_not_give_way() -> None:
    bench = Bench(total=50)
    held = await bench.reserve("busy")
    bench.budget.was_read(held, 50)
    bench.now += 1000
    waiting = bench.waiting("next")
    await until(lambda: bench.budget.waiting == 1)
    assert bench.gone == []
    waiting.cancel()


async def test_where_reads_usually_take_long_they_may_take_longer() -> None:
    bench = Bench(total=50)
    for _ in range(3):
        held = await bench.reserve()
        bench.now += 2.0
        bench.budget.was_read(held, 1)
        bench.budget.release(held)
    held = await bench.reserve("usual")
    bench.now += 2.0 * budgets.PATIENCE_FACTOR - 0.5
    waiting = bench.waiting("next")
    await until(lambda: bench.budget.waiting == 1)
    assert bench.gone == []
    waiting.cancel()
    bench.budget.release(held)


@given(st.lists(st.tuples(st.sampled_from("abc"), st.integers(1, 60), st.integers(0, 3)), max_size=30))
def test_whatever_happens_the_budget_is_kept_and_empty_in_the_end(steps: list[tuple[str, int, int]]) -> None:
    async def play() -> None:
        bench = Bench()
        tasks: list[asyncio.Task[Any]] = []

        async def one(owner: str, size: int, what: int) -> None:
            held = await bench.reserve(owner, size)
            try:
                assert bench.budget.used <= 100
                for _ in range(what):
                    await asyncio.sleep(0)
                bench.budget.was_read(held, size // 2)
            finally:
                bench.budget.release(held)

        for number, (owner, size, what) in enumerate(steps):
            tasks.append(asyncio.create_task(one(owner, size, what)))
            if number % 3 == 2:
                await asyncio.sleep(0)
                tasks[number // 2].cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        assert (bench.budget.used, bench.budget.waiting) == (0, 0)
        assert max(bench.told, default=0) <= 100
        assert not bench.budget._held_by

    asyncio.run(play())
