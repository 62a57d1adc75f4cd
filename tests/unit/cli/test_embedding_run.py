"""Signals that end the commands that embed images."""

import asyncio
import os
import signal
from collections.abc import Iterator

import pytest

from sightline_server.cli.embedding_run import cancel_on_signals


@pytest.fixture(autouse=True)
def _signals() -> Iterator[None]:
    """The handlers of this process as they were before the test."""
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGHUP)}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


def embed(number: signal.Signals) -> str:
    """Runs work of 5 s that gets a signal; returns how it ended."""

    async def work() -> str:
        cancel_on_signals()
        os.kill(os.getpid(), number)
        try:
            async with asyncio.timeout(5):
                await asyncio.Event().wait()
        except asyncio.CancelledError:
            return "cancelled"
        return "finished"

    return asyncio.run(work())


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_signal_that_ends_a_process_cancels_the_work(number: signal.Signals) -> None:
    signal.signal(signal.SIGHUP, signal.SIG_DFL)
    assert embed(number) == "cancelled"


def test_hangup_that_nohup_ignores_stays_ignored() -> None:
    signal.signal(signal.SIGHUP, signal.SIG_IGN)

    async def handler() -> object:
        cancel_on_signals()
        return signal.getsignal(signal.SIGHUP)

    assert asyncio.run(handler()) is signal.SIG_IGN
