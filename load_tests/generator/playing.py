"""The generator's own process: takes tasks through a pipe, plays them, sends back what became of the calls."""

import asyncio
import multiprocessing
import os
import random
import time
from collections.abc import Callable
from contextlib import suppress
from multiprocessing.connection import Connection
from pathlib import Path
from threading import Thread

from load_tests.generator.caller import Caller
from load_tests.generator.records import LEFT, to_run
from load_tests.generator.tasks import Abandonment, ClosedLoop, OpenLoop

NICE = -10
BACK_OFF_S = 0.1
"""The seconds that a caller of a closed loop waits after a refusal; a tenth of what the server asks for."""


def serve(pipe: Connection, make: Callable[[], Caller]) -> None:
    """The generator's process: plays what comes through the pipe until None comes."""
    priority = raise_priority()
    Thread(target=end_with_parent, name="parent", daemon=True).start()
    asyncio.run(play_all(pipe, make, priority))


def end_with_parent() -> None:
    """Ends this process when the one that started it has ended, however that ended."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


async def play_all(pipe: Connection, make: Callable[[], Caller], priority: str) -> None:
    caller = make()
    try:
        await asyncio.wait_for(caller.connect(), 30.0)
        pipe.send(priority)
        while (task := await asyncio.to_thread(pipe.recv)) is not None:
            begun = time.process_time()
            caller.begin()
            if isinstance(task, ClosedLoop):
                await play_closed(caller, task)
            elif isinstance(task, Abandonment):
                await play_abandonment(caller, task)
            else:
                await play_open(caller, task)
            pipe.send(to_run(caller.rows, seconds=caller.now, cpu_s=time.process_time() - begun))
    except Exception as error:  # the other side raises it
        pipe.send(RuntimeError(f"generator: {type(error).__name__}: {error}"))
    finally:
        await caller.close()


def raise_priority() -> str:
    """Asks for the right to run as soon as there is something to do; returns what was given, for the report.

    The round-robin class, before any thread is made, so that gRPC's threads are in it too; else a nice value, and that
    of the session with it, because Linux shares the cores among sessions first (autogroups).
    """
    with suppress(OSError):
        os.sched_setscheduler(0, os.SCHED_RR, os.sched_param(1))
        return "SCHED_RR"
    with suppress(OSError):
        os.setsid()
        Path("/proc/self/autogroup").write_text(str(NICE))
        os.nice(NICE)
    return f"nice {os.nice(0)}"


async def play_open(caller: Caller, task: OpenLoop) -> None:
    calls: set[asyncio.Task[str]] = set()
    for place, due in enumerate(task.calls):
        if (wait := due.at - caller.now) > 0:
            await asyncio.sleep(wait)
        call = asyncio.create_task(caller.call(place, due.request, due.at, due.manner))
        calls.add(call)
        call.add_done_callback(calls.discard)
    while calls:
        await asyncio.wait(set(calls))


async def play_closed(caller: Caller, task: ClosedLoop) -> None:
    places = iter(range(10**9))
    # Callers that start together would stay together, and the server's batches would be those of a convoy.
    source = random.Random(0)

    async def one() -> None:
        await asyncio.sleep(source.uniform(0.0, 0.2))
        while caller.now < task.seconds:
            place = next(places)
            if await caller.call(place, place % task.requests, caller.now) != "OK":
                await asyncio.sleep(BACK_OFF_S)

    await asyncio.gather(*(one() for _ in range(task.callers)))


async def play_abandonment(caller: Caller, task: Abandonment) -> None:
    source = random.Random(task.seed)
    weights = [moment.weight for moment in task.moments]
    left = 0

    async def one() -> None:
        nonlocal left
        while left < task.calls:
            moment = source.choices(task.moments, weights)[0]
            code = await caller.call(
                source.randrange(10**6), source.randrange(task.requests), caller.now, moment.draw(source)
            )
            left += code == LEFT
            if code not in (LEFT, "OK"):
                await asyncio.sleep(BACK_OFF_S)

    await asyncio.gather(*(one() for _ in range(task.callers)))
