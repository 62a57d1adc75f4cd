"""Photos that only Pillow decodes, over a real port: what their callers see, and that others see nothing of it."""

import asyncio
import os
import signal
from collections.abc import Mapping
from typing import Any

import grpc
import pytest

from tests.support.asking import asked, events_of, kinds
from tests.support.isolation import decoders, fork_servers
from tests.support.lens import Served, failed, serving, until
from tests.support.pictures import encode, gradient, tiff_of_tiny_tiles

ALLOWED: Mapping[str, Any] = {"formats": ("jpeg", "tiff", "avif", "heic"), "processes": 1}
TIFF = encode(gradient(96, 96), "TIFF")
SLOW_TIFF = tiff_of_tiny_tiles(2000)


async def decoding(served: Served, timeout_s: float = 60.0) -> Any:
    """A call whose photo is being decoded in a process."""
    call = served.search(asked(photo=SLOW_TIFF), timeout=timeout_s)
    # Its start takes less.
    await until(lambda: any(sum(each.cpu_times()[:2]) > 0.1 for each in decoders()))
    return call


async def quiet_and_good(served: Served) -> None:
    """Asserts that nothing remains of earlier calls, and that the next one succeeds."""
    await until(lambda: served.value("in_flight") == 0)
    assert decoders() == []
    assert kinds(await events_of(served.search(asked(photo=TIFF))))[-1] == "done"


async def test_a_tiff_and_the_formats_of_phones_are_searched() -> None:
    async with serving(decode=ALLOWED) as served:
        for photo in (TIFF, encode(gradient(96, 96), "AVIF"), encode(gradient(96, 96), "JPEG")):
            assert kinds(await events_of(served.search(asked(photo=photo)))) == [
                *("accepted", "detected", "results", "results", "done")
            ]
        assert len(fork_servers()) == 1
    assert decoders() == fork_servers() == []


async def test_a_deadline_ends_the_process_and_frees_its_place() -> None:
    async with serving(decode=ALLOWED) as served:
        error = await failed(served.search(asked(photo=SLOW_TIFF), timeout=2.0))
        assert error.code is grpc.StatusCode.DEADLINE_EXCEEDED
        await quiet_and_good(served)
        assert served.value("decode_process_ends_total", reason="cancelled") <= 1


async def test_a_caller_who_leaves_ends_the_process() -> None:
    async with serving(decode=ALLOWED) as served:
        call = await decoding(served)
        call.cancel()
        await quiet_and_good(served)
        assert served.value("left_calls_total", stage="decode", moment="in") == 1


async def test_a_photo_that_takes_too_long_is_refused() -> None:
    async with serving(decode={**ALLOWED, "process_timeout_s": 3}) as served:
        error = await failed(served.search(asked(photo=SLOW_TIFF)))
        assert (error.events, error.code, error.reason) == ([], grpc.StatusCode.INVALID_ARGUMENT, "LIMIT_EXCEEDED")
        assert error.message == "the photo takes too long to decode, the limit is 3 s"
        assert served.value("decode_process_ends_total", reason="timeout") == 1
        await quiet_and_good(served)


@pytest.mark.parametrize(("number", "reason"), [(signal.SIGKILL, "LIMIT_EXCEEDED"), (signal.SIGSEGV, "INVALID_IMAGE")])
async def test_a_crash_is_an_error_of_its_photo_only(number: signal.Signals, reason: str) -> None:
    async with serving(decode=ALLOWED) as served:
        # Ready, so that the photo and not its start is what ends.
        await events_of(served.search(asked(photo=TIFF)))
        call = await decoding(served)
        await until(lambda: served.value("in_flight") == 1)
        others = [asyncio.ensure_future(events_of(served.search(asked()))) for _ in range(4)]
        await asyncio.gather(*others)
        os.kill(decoders()[0].pid, number)
        error = await failed(call)
        assert (error.code, error.reason) == (grpc.StatusCode.INVALID_ARGUMENT, reason)
        assert [kinds(each.result())[-1] for each in others] == ["done"] * 4
        assert served.value("decode_process_ends_total", reason="crashed") == 1
        await quiet_and_good(served)


async def test_jpegs_start_no_process() -> None:
    async with serving() as served:
        await asyncio.gather(*(events_of(served.search(asked())) for _ in range(4)))
        assert decoders() == []
        error = await failed(served.search(asked(photo=TIFF)))
        assert "allow tiff in the server's decode.formats" in error.message
        assert decoders() == []
