"""Shared memory regions: filled, overwritten, used again only when that is safe, and never under a name."""

import asyncio
import errno
import os
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

from sightline_server import owned_names
from sightline_server.triton import regions
from sightline_server.triton.faults import Cause, EngineError
from sightline_server.triton.ports import RegionRegistry
from sightline_server.triton.tensors import KEPT_IDLE_S, RegionPool
from tests.support.clock import HandClock

MIB = 1 << 20


class Registrar:
    """Stands for Triton: maps what is registered, as Triton does, and may refuse."""

    def __init__(self) -> None:
        self.mapped: dict[str, int] = {}
        self.refuses = False
        self.silent = False
        self.asked = 0
        self.in_use: set[str] = set()

    async def register(self, region: str, size: int, timeout_s: float) -> None:
        if self.refuses:
            raise EngineError(Cause.REFUSED, "cannot map")
        self.mapped[region] = os.stat(regions.FOLDER / region).st_mode & 0o777

    async def unregister(self, region: str, timeout_s: float) -> None:
        self.asked += 1
        if self.silent:
            raise EngineError(Cause.FROZEN, "no answer")
        if region in self.in_use:
            raise EngineError(Cause.MODEL_DOWN, "in use")
        del self.mapped[region]

    async def registered(self, timeout_s: float) -> list[str]:
        self.asked += 1
        if self.silent:
            raise EngineError(Cause.FROZEN, "no answer")
        return list(self.mapped)


if TYPE_CHECKING:
    _registry: RegionRegistry = Registrar()


@pytest.fixture
def registrar() -> Registrar:
    return Registrar()


@pytest.fixture
def clock() -> HandClock:
    return HandClock()


@pytest.fixture
def pool(registrar: Registrar, clock: HandClock) -> RegionPool:
    return RegionPool(registrar, 8 * MIB, clock)


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(regions, "FOLDER", tmp_path)
    return tmp_path


async def test_parts_lie_one_after_the_other(pool: RegionPool) -> None:
    parts = [np.full((4, 5, 3), value, np.uint8) for value in (1, 2, 3)]
    region = await pool.acquire(180)
    assert region is not None
    assert region.fill(parts) == 180
    np.testing.assert_array_equal(region._view[:180], np.repeat([1, 2, 3], 60))


async def test_parts_need_not_be_contiguous(pool: RegionPool) -> None:
    whole = np.arange(4 * 10 * 3, dtype=np.uint8).reshape(4, 10, 3)
    region = await pool.acquire(60)
    assert region is not None
    region.fill([whole[:, ::2]])
    np.testing.assert_array_equal(region._view[:60].reshape(4, 5, 3), whole[:, ::2])


async def test_no_name_is_left_once_triton_has_mapped_it(pool: RegionPool, registrar: Registrar, folder: Path) -> None:
    region = await pool.acquire(100)
    assert region is not None
    assert os.listdir(folder) == []
    assert registrar.mapped == {region.name: 0o600}
    assert region.name.startswith(owned_names.own_prefix())


async def test_no_name_is_left_when_triton_refuses(pool: RegionPool, registrar: Registrar, folder: Path) -> None:
    registrar.refuses = True
    with pytest.raises(EngineError):
        await pool.acquire(100)
    assert os.listdir(folder) == []
    assert pool.mapped_bytes == 0


async def test_a_released_region_is_overwritten_and_used_again(pool: RegionPool) -> None:
    first = await pool.acquire(300)
    assert first is not None
    first.fill([np.full((10, 10, 3), 255, np.uint8)])
    pool.release(first)
    assert not first._view.any()
    assert await pool.acquire(200) is first


async def test_a_region_in_use_is_not_given_out_twice(pool: RegionPool) -> None:
    first, second = await pool.acquire(300), await pool.acquire(300)
    assert first is not second


async def test_a_discarded_region_is_never_used_again(pool: RegionPool, registrar: Registrar) -> None:
    first = await pool.acquire(300)
    assert first is not None
    pool.discard(first)
    assert pool.mapped_bytes == 0
    await pool.tidy()
    assert registrar.mapped == {}
    again = await pool.acquire(300)
    assert again is not None
    assert again.name != first.name


async def test_the_smallest_region_that_fits_is_taken(pool: RegionPool) -> None:
    large, small = await pool.acquire(4 * MIB), await pool.acquire(1)
    assert large is not None
    assert small is not None
    pool.release(large)
    pool.release(small)
    assert await pool.acquire(10) is small
    assert await pool.acquire(3 * MIB) is large


async def test_beyond_its_bound_it_gives_none_but_trades_idle_regions_for_a_larger_one(pool: RegionPool) -> None:
    small = [await pool.acquire(1) for _ in range(5)]
    assert await pool.acquire(4 * MIB) is None
    for region in small:
        assert region is not None
        pool.release(region)
    assert await pool.acquire(8 * MIB) is not None
    assert pool.mapped_bytes == 8 * MIB
    assert await pool.acquire(1) is None


async def test_what_no_call_has_needed_for_a_while_is_given_back(
    pool: RegionPool, registrar: Registrar, clock: HandClock
) -> None:
    often, once, busy = [await pool.acquire(size) for size in (1, 2 * MIB, 1)]
    assert often is not None
    assert once is not None
    assert busy is not None
    pool.release(once)
    clock.now += KEPT_IDLE_S - 1
    pool.release(often)
    await pool.tidy()
    assert set(registrar.mapped) == {often.name, once.name, busy.name}
    clock.now += 1
    await pool.tidy()
    assert set(registrar.mapped) == {often.name, busy.name}
    assert pool.mapped_bytes == 2 * MIB
    assert await pool.acquire(1) is often
    pool.release(often)
    clock.now += KEPT_IDLE_S
    await pool.tidy()
    assert set(registrar.mapped) == {busy.name}


async def test_a_region_that_is_being_given_back_is_not_given_out(
    pool: RegionPool, registrar: Registrar, clock: HandClock
) -> None:
    idle = [await pool.acquire(1) for _ in range(3)]
    for region in idle:
        assert region is not None
        pool.release(region)
    clock.now += KEPT_IDLE_S
    giving = asyncio.create_task(pool.tidy())
    await asyncio.sleep(0)
    assert pool.mapped_bytes == 0
    assert await pool.acquire(1) not in idle
    await giving
    assert len(registrar.mapped) == 1


async def test_a_region_that_triton_still_reads_leaves_later(pool: RegionPool, registrar: Registrar) -> None:
    region = await pool.acquire(1)
    assert region is not None
    registrar.in_use = {region.name}
    pool.discard(region)
    await pool.tidy()
    assert list(registrar.mapped) == [region.name]
    registrar.in_use = set()
    await pool.tidy()
    assert registrar.mapped == {}


async def test_the_regions_of_a_process_that_has_ended_are_let_go_as_soon_as_they_can_be(
    pool: RegionPool, registrar: Registrar
) -> None:
    own = await pool.acquire(1)
    assert own is not None
    registrar.mapped |= {"other-c0": 0o600, "other-c1": 0o600, "third-c0": 0o600}
    registrar.in_use = {"other-c1"}
    pool.forget_others("other-")
    await pool.tidy()
    assert set(registrar.mapped) == {own.name, "other-c1", "third-c0"}
    registrar.in_use = set()
    await pool.tidy()
    assert set(registrar.mapped) == {own.name, "third-c0"}


async def test_what_a_burst_took_is_given_back_under_light_load_too(pool: RegionPool, clock: HandClock) -> None:
    burst = [await pool.acquire(1) for _ in range(6)]
    for region in burst:
        assert region is not None
        pool.release(region)
    for _ in range(int(KEPT_IDLE_S) + 1):
        clock.now += 1
        region = await pool.acquire(1)
        assert region is not None
        pool.release(region)
        await pool.tidy()
    assert pool.mapped_bytes == 1 * MIB


async def test_a_triton_that_does_not_answer_is_asked_once_and_again_later(
    pool: RegionPool, registrar: Registrar
) -> None:
    for region in [await pool.acquire(1) for _ in range(4)]:
        assert region is not None
        pool.discard(region)
    registrar.mapped["other-c0"] = 0o600
    pool.forget_others("other-")
    registrar.silent = True
    await pool.tidy()
    assert registrar.asked == 1
    assert len(registrar.mapped) == 5
    registrar.silent = False
    await pool.tidy()
    assert registrar.mapped == {}


async def test_what_triton_may_have_mapped_without_an_answer_is_taken_back(
    pool: RegionPool, registrar: Registrar, monkeypatch: pytest.MonkeyPatch
) -> None:
    register = registrar.register

    async def done_but_not_said(region: str, size: int, timeout_s: float) -> None:
        await register(region, size, timeout_s)
        raise EngineError(Cause.FROZEN, "no answer")

    monkeypatch.setattr(registrar, "register", done_but_not_said)
    with pytest.raises(EngineError):
        await pool.acquire(1)
    assert len(registrar.mapped) == 1
    await pool.tidy()
    assert registrar.mapped == {}


async def test_a_full_dev_shm_gives_none(pool: RegionPool, monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    def full(descriptor: int, offset: int, size: int) -> None:
        raise OSError(errno.ENOSPC, "no space")

    monkeypatch.setattr(os, "posix_fallocate", full)
    assert await pool.acquire(100) is None
    assert os.listdir(folder) == []
    assert pool.mapped_bytes == 0


async def test_a_closed_pool_lets_go_of_all_regions(pool: RegionPool, registrar: Registrar) -> None:
    idle, busy = await pool.acquire(1), await pool.acquire(1)
    assert idle is not None
    assert busy is not None
    pool.release(idle)
    await pool.close()
    assert await pool.acquire(1) is None
    pool.release(busy)
    assert pool.mapped_bytes == 0
