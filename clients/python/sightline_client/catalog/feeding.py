"""Products of a blocking caller on their way into an event loop.

Rule: the caller's iterable runs in one separate thread from its first to its last step, so that it may block, and
advances only when the loop asks for a product.
"""

import asyncio
import threading
from collections.abc import AsyncGenerator, Generator, Iterable, Iterator
from contextlib import aclosing, suppress
from queue import SimpleQueue
from typing import Any, TypeAlias, TypeVar, cast

T = TypeVar("T")
_END = object()
_Asked: TypeAlias = "asyncio.Future[object] | None"


async def fed(values: Iterable[T]) -> AsyncGenerator[T, None]:
    """The values of a blocking iterable. What it raises is raised here."""
    asked: SimpleQueue[_Asked] = SimpleQueue()
    loop = asyncio.get_running_loop()
    threading.Thread(target=_serve, args=(values, asked, loop), name="sightline-products", daemon=True).start()
    try:
        while True:
            future: asyncio.Future[object] = loop.create_future()
            asked.put(future)
            value = await future
            if value is _END:
                return
            yield cast("T", value)
    finally:
        asked.put(None)


async def closing_both(outcomes: AsyncGenerator[T, None], source: AsyncGenerator[Any, None]) -> AsyncGenerator[T, None]:
    """The values of `outcomes`, which take from `source`. Both are closed at the end, `source` last."""
    async with aclosing(source), aclosing(outcomes):
        async for outcome in outcomes:
            yield outcome


def _serve(values: Iterable[object], asked: "SimpleQueue[_Asked]", loop: asyncio.AbstractEventLoop) -> None:
    source: Iterator[object] | None = None
    while (future := asked.get()) is not None:
        value: object = _END
        raised: BaseException | None = None
        try:
            source = iter(values) if source is None else source
            value = next(source, _END)
        except BaseException as error:  # handed to the caller
            raised = error
        # A loop that has ended takes no answer any more.
        with suppress(RuntimeError):
            loop.call_soon_threadsafe(_settle, future, value, raised)
    if isinstance(source, Generator):
        with suppress(Exception):
            source.close()


def _settle(future: "asyncio.Future[object]", value: object, raised: BaseException | None) -> None:
    if future.done():  # no caller waits for it any more
        return
    if raised is None:
        future.set_result(value)
    elif isinstance(raised, StopIteration) or not isinstance(raised, Exception):
        # A future cannot hold the first, and the others would end the loop of the client.
        future.set_exception(RuntimeError(f"the iterable raised {type(raised).__name__}"))
    else:
        future.set_exception(raised)
