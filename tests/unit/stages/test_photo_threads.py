"""Threads for photos: a cancelled call holds its slot until its thread ends, and large photos wait for each other."""

import asyncio
import os
import struct
import threading
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sightline_server.errors import ErrorKind, SightlineError
from sightline_server.stages import photo_threads
from sightline_server.stages.decode import DecodeLimits, prepare
from sightline_server.stages.photo_threads import LargePhotos, PhotoThreads
from sightline_server.stages.processes.pool import DecodeProcesses
from sightline_server.stages.processes.process import ProcessLimits
from sightline_server.stages.processes.yielding import NICER_BY
from tests.support.isolation import isolation
from tests.support.pictures import encode, gradient

LIMITS = DecodeLimits(max_bytes=1 << 20, max_pixels=1_000_000, max_edge=512)
PHOTO = encode(gradient())
NO_PROCESS = ProcessLimits(count=0, memory_bytes=0, timeout_s=0)
"""A photo that needs a decode process would wait for ever."""


@pytest.fixture
async def threads() -> AsyncIterator[PhotoThreads]:
    executor = ThreadPoolExecutor(1)
    yield PhotoThreads(executor, DecodeProcesses(NO_PROCESS))
    executor.shutdown(wait=True)


class Work:
    """Work in a thread that waits at a gate."""

    def __init__(self) -> None:
        self.started, self.gate, self.ended = threading.Event(), threading.Event(), threading.Event()

    def __call__(self) -> str:
        self.started.set()
        assert self.gate.wait(60)
        self.ended.set()
        return "done"

    async def has_started(self) -> None:
        assert await asyncio.to_thread(self.started.wait, 60)


async def test_a_cancelled_call_ends_with_its_thread(threads: PhotoThreads) -> None:
    work = Work()
    call = asyncio.ensure_future(threads.run(work))
    await work.has_started()
    for _ in range(3):
        call.cancel()
        await asyncio.sleep(0)
        assert not call.done(), "its slot counts as long as its thread works"
    work.gate.set()
    with pytest.raises(asyncio.CancelledError):
        await call
    assert work.ended.is_set()


async def test_a_timeout_ends_a_call_with_its_thread(threads: PhotoThreads) -> None:
    work = Work()
    timer = asyncio.get_running_loop().call_later(0.05, work.gate.set)
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.01):
            await threads.run(work)
    assert work.ended.is_set()
    timer.cancel()


async def test_a_cancelled_call_that_waits_for_a_thread_ends_at_once(threads: PhotoThreads) -> None:
    work, waiting = Work(), Work()
    call = asyncio.ensure_future(threads.run(work))
    await work.has_started()
    second = asyncio.ensure_future(threads.run(waiting))
    await asyncio.sleep(0)
    second.cancel()
    with pytest.raises(asyncio.CancelledError):
        await second
    work.gate.set()
    assert await call == "done"
    assert not waiting.started.is_set(), "nobody's photo was decoded in vain"


async def test_an_error_of_a_left_call_is_nobodys(threads: PhotoThreads) -> None:
    work = Work()

    def fails() -> None:
        work()
        raise ValueError

    call = asyncio.ensure_future(threads.run(fails))
    await work.has_started()
    call.cancel()
    await asyncio.sleep(0)
    work.gate.set()
    with pytest.raises(asyncio.CancelledError):
        await call


async def test_an_ordinary_photo_takes_one_hop_and_no_room(threads: PhotoThreads) -> None:
    starts: list[int] = []
    frame = await threads.decode(PHOTO, LIMITS, lambda frame: frame, lambda: starts.append(1))
    assert frame.pixels.shape == (32, 48, 3)
    assert starts == [1]
    with pytest.raises(SightlineError) as caught:
        await threads.decode(b"text", LIMITS, lambda frame: frame, lambda: None)
    assert caught.value.kind is ErrorKind.INVALID_IMAGE


async def test_a_large_photo_is_decoded_in_a_process_and_alike(monkeypatch: pytest.MonkeyPatch) -> None:
    async with isolation() as made:
        ordinary = await made.decode(PHOTO)
        assert made.fork_servers() == []
        monkeypatch.setattr(photo_threads, "ORDINARY_WEIGHT", 0)
        large = await made.decode(PHOTO)
        assert made.fork_server().nice() == min(19, os.getpriority(os.PRIO_PROCESS, 0) + NICER_BY)
    assert np.array_equal(large.pixels, ordinary.pixels)


async def test_large_photos_wait_for_each_other_and_ordinary_ones_pass(monkeypatch: pytest.MonkeyPatch) -> None:
    async with isolation() as made:
        large = made.threads.large
        async with large.room(photo_threads.LARGE_WEIGHT):
            monkeypatch.setattr(photo_threads, "ORDINARY_WEIGHT", 0)
            waiting = asyncio.ensure_future(made.decode(PHOTO))
            while not large.waiting:  # noqa: ASYNC110 (a process gives no event to wait for)
                await asyncio.sleep(0.001)
            monkeypatch.setattr(photo_threads, "ORDINARY_WEIGHT", 1 << 30)
            assert (await made.decode(PHOTO)).width == 48
            assert not waiting.done()
        assert (await waiting).width == 48


async def test_room_is_given_in_turn_and_given_back() -> None:
    large, order = LargePhotos(memory=100), list[str]()
    gates = {name: asyncio.Event() for name in "abcd"}

    async def photo(name: str, memory: int) -> None:
        async with large.room(memory):
            order.append(name)
            await gates[name].wait()

    tasks = {
        name: asyncio.ensure_future(photo(name, memory)) for name, memory in zip("abcd", (60, 60, 30, 999), strict=True)
    }
    await settle()
    assert order == ["a"], "b does not fit next to a, and c does not overtake it"
    gates["a"].set()
    await settle()
    assert order == ["a", "b", "c"]
    tasks["b"].cancel()
    gates["c"].set()
    await settle()
    assert order == ["a", "b", "c", "d"], "more than there is takes all there is"
    gates["d"].set()
    await asyncio.gather(*tasks.values(), return_exceptions=True)
    async with large.room(100):
        assert large.waiting == 0


async def test_who_leaves_the_queue_for_room_lets_the_next_one_in() -> None:
    large = LargePhotos(memory=100)
    async with large.room(60):
        first = asyncio.ensure_future(large.room(60).__aenter__())
        second = asyncio.ensure_future(large.room(30).__aenter__())
        await settle()
        first.cancel()
        await settle()
        assert second.done()
        assert large.waiting == 0


async def test_who_leaves_in_the_moment_of_its_turn_gives_it_back() -> None:
    large = LargePhotos(memory=100)
    holder = large.room(100)
    await holder.__aenter__()
    waiting = asyncio.ensure_future(large.room(100).__aenter__())
    await settle()
    await holder.__aexit__(None, None, None)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    async with asyncio.timeout(5), large.room(100):
        assert large.waiting == 0


async def test_who_left_just_before_its_turn_takes_nothing() -> None:
    large = LargePhotos(memory=100)
    holder = large.room(100)
    await holder.__aenter__()
    left, waiting = (asyncio.ensure_future(large.room(100).__aenter__()) for _ in range(2))
    await settle()
    left.cancel()
    await holder.__aexit__(None, None, None)
    with pytest.raises(asyncio.CancelledError):
        await left
    await settle()
    assert waiting.done(), "the room of the one that ended is the next one's, not lost"


@given(st.lists(st.tuples(st.integers(0, 5), st.sampled_from(["come", "leave", "end", "run"])), max_size=60))
def test_in_any_order_of_coming_and_leaving_all_room_is_given_back(steps: list[tuple[int, str]]) -> None:
    asyncio.run(come_and_leave(steps))


async def come_and_leave(steps: list[tuple[int, str]]) -> None:
    """Lets photos come, leave and end without a pause between, except where a step is `run`."""
    large, tasks, ends = LargePhotos(memory=100), dict[int, asyncio.Task[None]](), dict[int, asyncio.Event]()

    async def photo(number: int, end: asyncio.Event) -> None:
        async with large.room(30 * (number + 1)):
            await end.wait()

    for number, step in steps:
        if step == "come" and number not in tasks:
            ends[number] = asyncio.Event()
            tasks[number] = asyncio.create_task(photo(number, ends[number]))
        elif step == "leave" and number in tasks:
            tasks.pop(number).cancel()
        elif step == "end" and number in tasks:
            ends[number].set()
        elif step == "run":
            await settle()
    for end in ends.values():
        end.set()
    await asyncio.gather(*tasks.values())
    async with asyncio.timeout(5), large.room(100), large.room(0):
        assert large.waiting == 0


async def settle() -> None:
    """Lets every task run as far as it can."""
    for _ in range(10):
        await asyncio.sleep(0)


@pytest.mark.parametrize(("width", "height", "large"), [(5000, 5000, False), (5001, 5000, True), (9200, 6900, True)])
def test_a_jpeg_that_is_reduced_weighs_as_many_pixels_as_it_has(width: int, height: int, large: bool) -> None:
    photo = PHOTO.replace(struct.pack(">HH", 32, 48), struct.pack(">HH", height, width), 1)
    prepared = prepare(photo, DecodeLimits(max_bytes=1 << 20, max_pixels=64_000_000, max_edge=512))
    assert prepared.source.memory < photo_threads.ORDINARY_WEIGHT
    assert (prepared.weight > photo_threads.ORDINARY_WEIGHT) == large
