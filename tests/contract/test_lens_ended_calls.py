"""Calls that end before their status is sent leave no error in the log: callers end them as often as they like."""

import asyncio
import logging

import pytest
from grpc._cython import cygrpc  # type: ignore[attr-defined]

from load_tests.attacks.http2 import SEARCH
from load_tests.hostile.attacker import Attacked
from load_tests.hostile.call import call
from sightline_server.rpc.grpc_log import FAILED_BATCH, NO_ENDED_CALLS
from tests.support.asking import asked, events_of, kinds
from tests.support.lens import FakeSnapshot, serving

CALLS = 300
TIMEOUTS = (b"1n", b"1u", b"100u", b"300u", b"1m")


def end_early(address: str) -> int:
    """Makes calls whose deadlines pass while they are refused; returns how many ended."""
    with Attacked(address) as connection:
        streams = set()
        for number in range(CALLS):
            fields = ((b"grpc-timeout", TIMEOUTS[number % len(TIMEOUTS)]), (b"authorization", b"Bearer x"))
            streams.add(connection.begin(call("late", *fields, message=b"", path=SEARCH.encode())))
            connection.listen(0.002 if number % 7 == 0 else 0.0)
        waits = 0
        while not streams <= connection.ended and waits < 200:
            connection.listen(0.1)
            waits += 1
        return len(streams & connection.ended)


async def test_calls_whose_deadline_passes_meanwhile_leave_no_error(caplog: pytest.LogCaptureFixture) -> None:
    async with serving(index=FakeSnapshot("default")) as served:
        assert await asyncio.to_thread(end_early, served.address) == CALLS
        assert kinds(await events_of(served.search(asked())))[-1] == "done"
    assert [each.getMessage() for each in caplog.records if each.levelno >= logging.WARNING] == []


@pytest.mark.parametrize(
    ("error", "kept"),
    [
        (cygrpc.ExecuteBatchError(f"{FAILED_BATCH}: (...)"), False),
        (cygrpc.ExecuteBatchError("Failed grpc_call_start_batch: 8"), True),
        (ValueError(f"{FAILED_BATCH}: (...)"), True),
        (None, True),
    ],
)
def test_only_operations_that_came_too_late_are_dropped(error: Exception | None, kept: bool) -> None:
    caught = None if error is None else (type(error), error, None)
    record = logging.LogRecord("grpc", logging.ERROR, "", 1, "raised in core", (), caught)
    assert NO_ENDED_CALLS.filter(record) is kept
