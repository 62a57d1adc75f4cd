"""Threads that let calls go first."""

import asyncio
import threading

from sightline_server.batching.background import Background
from sightline_server.batching.giving_way import GivingWay
from tests.support.clock import HandClock

LONG_S = 30.0


async def test_thread_waits_until_no_call_is_inside() -> None:
    background = Background(clock=HandClock())
    give_way = GivingWay(background, asyncio.get_running_loop())
    with background.call():
        waiting = asyncio.create_task(asyncio.to_thread(give_way, LONG_S))
        done, _ = await asyncio.wait([waiting], timeout=0.05)
        assert not done
    async with asyncio.timeout(LONG_S / 2):
        await waiting


async def test_wait_ends_at_its_bound_while_a_call_is_inside() -> None:
    background = Background(clock=HandClock())
    give_way = GivingWay(background, asyncio.get_running_loop())
    with background.call():
        async with asyncio.timeout(LONG_S / 2):
            await asyncio.to_thread(give_way, 0.01)
        assert background.ahead == 1


async def test_thread_goes_on_at_once_without_a_call() -> None:
    give_way = GivingWay(Background(clock=HandClock()), asyncio.get_running_loop())
    thread = threading.Thread(target=give_way, args=(LONG_S,))
    thread.start()
    # The event loop does not run here, and is not needed.
    thread.join(LONG_S / 2)
    assert not thread.is_alive()


def test_thread_goes_on_at_once_where_the_loop_has_ended() -> None:
    loop, background = asyncio.new_event_loop(), Background(clock=HandClock())
    with background.call():
        GivingWay(background, loop)(LONG_S)
    loop.close()
