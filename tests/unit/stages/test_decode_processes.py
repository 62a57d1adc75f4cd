"""Decode processes: what only Pillow decodes costs nobody else anything, whatever it does to its process."""

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from pathlib import Path

import numpy as np
import psutil
import pytest
from PIL import Image

from sightline_server.errors import ErrorKind, SightlineError
from sightline_server.stages.decode import decode
from sightline_server.stages.processes import link
from sightline_server.stages.processes.link import ForkServerLink
from tests.support.isolation import BOUNDS, LIMITS, Isolation, decoders, isolation
from tests.support.pictures import encode, exif, gradient, noise, tiff_of_tiny_tiles

JPEG = encode(gradient())
TIFF = encode(gradient(), "TIFF")
SLOW_TIFF = tiff_of_tiny_tiles(2000)
"""It takes a minute."""
TIMEOUT_S = 2
GONE_S = 20.0
"""Seconds that the end of a process may take on a busy machine."""

LEFT_TO_PILLOW = {
    "tiff": TIFF,
    "tiff, turned": encode(gradient(), "TIFF", exif=exif(6)),
    "tiff of floats": encode(Image.fromarray(np.linspace(0, 1, 64 * 48, dtype=np.float32).reshape(48, 64)), "TIFF"),
    "tiff with transparency": encode(Image.new("RGBA", (20, 10), (200, 10, 10, 100)), "TIFF"),
    "tiff above the frame's edge": encode(noise(400, 300), "TIFF"),
    "plain bmp": encode(gradient(), "BMP"),
    "jpeg of CMYK": encode(Image.fromarray(gradient()).convert("CMYK")),
    "jpeg of CMYK, turned": encode(Image.fromarray(gradient()).convert("CMYK"), exif=exif(8)),
    "jpeg without its end": encode(noise(320, 240), quality=90)[:-2],
}


async def until(condition: Callable[[], object]) -> None:
    """Returns when the condition holds."""
    async with asyncio.timeout(GONE_S):
        while not condition():  # noqa: ASYNC110 (a process gives no event to wait for)
            await asyncio.sleep(0.01)


async def decoding(made: Isolation, photo: bytes = SLOW_TIFF) -> "asyncio.Task[object]":
    """A call whose process is at work on the photo."""
    call = asyncio.create_task(made.decode(photo))
    await until(lambda: made.processes.pids)
    process = psutil.Process(made.pid)
    # Its start takes less.
    await until(lambda: sum(process.cpu_times()[:2]) > 0.1)
    assert not call.done()
    return call


@asynccontextmanager
async def at_work(made: Isolation) -> AsyncIterator[psutil.Process]:
    """A process that decodes for the length of the block."""
    call = await decoding(made)
    try:
        yield psutil.Process(made.pid)
    finally:
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call


async def refusal(call: Awaitable[object]) -> SightlineError:
    with pytest.raises(SightlineError) as caught:
        await call
    return caught.value


async def test_what_only_pillow_decodes_has_the_same_pixels_as_in_the_own_process() -> None:
    limits = replace(LIMITS, max_edge=256)
    async with isolation() as made:
        for name, photo in LEFT_TO_PILLOW.items():
            frame = await made.decode(photo, limits)
            assert np.array_equal(frame.pixels, decode(photo, limits).pixels), name
            assert frame.pixels.flags.c_contiguous and not frame.pixels.flags.writeable
        assert len(made.processes.pids) <= 1
    assert made.ends == []


async def test_a_jpeg_starts_no_process() -> None:
    async with isolation() as made:
        await made.decode(JPEG)
        await made.decode(encode(gradient(), "PNG"))
        await made.decode(encode(gradient(), "WEBP"))
        await made.decode(encode(gradient(), "GIF"))
        assert made.processes.pids == []


@pytest.mark.parametrize(
    ("photo", "kind", "text"),
    [
        (TIFF[: len(TIFF) // 2], ErrorKind.INVALID_IMAGE, "TIFF, but it is truncated or corrupt"),
        (b"II*\0" + bytes(60), ErrorKind.INVALID_IMAGE, "TIFF, but it is truncated or corrupt"),
        (encode(noise(640, 480), quality=90)[:9000], ErrorKind.INVALID_IMAGE, "the photo is truncated"),
        (encode(Image.new("1", (9000, 8000)), "TIFF", compression="group4"), ErrorKind.LIMIT_EXCEEDED, "72000000 pix"),
    ],
)
async def test_a_refusal_is_the_same_as_in_the_own_process(photo: bytes, kind: ErrorKind, text: str) -> None:
    async with isolation() as made:
        error = await refusal(made.decode(photo))
        assert (error.kind, error.field) == (kind, "photo")
        assert text in error.message
        with pytest.raises(SightlineError) as here:
            decode(photo, LIMITS)
        assert (here.value.message, dict(here.value.metadata)) == (error.message, dict(error.metadata))
        assert (await made.decode(TIFF)).width == 48
    assert made.ends == []


async def test_a_slow_tiff_ends_at_the_limit_and_the_place_is_free() -> None:
    async with isolation(replace(BOUNDS, timeout_s=TIMEOUT_S)) as made:
        call = await decoding(made)
        process = psutil.Process(made.pid)
        error = await refusal(call)
        assert (error.kind, error.message) == (
            ErrorKind.LIMIT_EXCEEDED,
            f"the photo takes too long to decode, the limit is {TIMEOUT_S} s",
        )
        assert not process.is_running()
        assert (await made.decode(TIFF)).width == 48
    assert made.ends == ["timeout"]


async def test_the_kernel_ends_a_process_that_takes_too_much_cpu_time(monkeypatch: pytest.MonkeyPatch) -> None:
    # The pool's own clock allows a minute: only RLIMIT_CPU is left.
    start = ForkServerLink.start
    monkeypatch.setattr(ForkServerLink, "start", lambda limits: start(replace(limits, timeout_s=1)))
    async with isolation() as made:
        error = await refusal(made.decode(SLOW_TIFF))
        assert error.kind is ErrorKind.LIMIT_EXCEEDED
        assert "takes too long" in error.message
    assert made.ends == ["timeout"]


async def test_a_caller_who_leaves_ends_the_process_at_once() -> None:
    async with isolation() as made:
        call = await decoding(made)
        process = psutil.Process(made.pid)
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call
        assert not process.is_running()
        assert (await made.decode(TIFF)).width == 48
    assert made.ends == ["cancelled"]


async def test_a_deadline_ends_the_process() -> None:
    async with isolation() as made:
        call = await decoding(made)
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(call, 0.05)
        assert made.processes.pids == []
    assert made.ends == ["cancelled"]


@pytest.mark.parametrize(
    ("number", "kind"), [(signal.SIGKILL, ErrorKind.LIMIT_EXCEEDED), (signal.SIGSEGV, ErrorKind.INVALID_IMAGE)]
)
async def test_a_process_that_dies_is_an_error_of_its_photo_only(
    number: signal.Signals, kind: ErrorKind, caplog: pytest.LogCaptureFixture
) -> None:
    async with isolation(replace(BOUNDS, count=2)) as made:
        call = await decoding(made)
        victim = made.pid
        other = await asyncio.wait_for(made.decode(TIFF), GONE_S)
        os.kill(victim, number)
        error = await refusal(call)
        assert (error.kind, error.field) == (kind, "photo")
        assert other.width == 48
        assert (await made.decode(TIFF)).width == 48
    assert made.ends == ["crashed"]
    assert [record.getMessage() for record in caplog.records] == [
        f"a decode process ended with exit code {-number} while it decoded"
    ]


async def test_memory_is_limited() -> None:
    photo = encode(Image.new("F", (8000, 8000)), "TIFF", compression="tiff_adobe_deflate")
    async with isolation(replace(BOUNDS, memory_bytes=512 << 20)) as made:
        error = await refusal(made.decode(photo))
        assert (error.kind, error.message) == (ErrorKind.LIMIT_EXCEEDED, "the photo needs too much memory")
        assert (await made.decode(TIFF)).width == 48
    assert made.ends == []


async def test_an_expensive_tiff_costs_the_server_its_frame_only() -> None:
    # 500 MB of floats and what is made of them.
    photo = encode(Image.new("F", (5000, 5000)), "TIFF", compression="tiff_adobe_deflate")
    async with isolation() as made:
        await made.decode(TIFF)
        # The peak starts again.
        with open("/proc/self/clear_refs", "w") as file:  # noqa: ASYNC230 (no disk is written)
            file.write("5")
        before, used = own_peak(), time.process_time()
        assert (await made.decode(photo)).width == 3072
        assert time.process_time() - used < 2.0
        assert own_peak() - before < 100 << 20
    assert made.ends == []


def own_peak() -> int:
    """The most resident bytes of this process."""
    (line,) = (each for each in Path("/proc/self/status").read_text().splitlines() if each.startswith("VmHWM:"))
    return int(line.split()[1]) * 1024


async def test_a_process_may_open_and_write_nothing() -> None:
    async with isolation() as made, at_work(made) as process:
        assert process.rlimit(psutil.RLIMIT_AS) == (BOUNDS.memory_bytes, BOUNDS.memory_bytes)
        assert process.rlimit(psutil.RLIMIT_FSIZE) == (0, 0)
        assert process.rlimit(psutil.RLIMIT_CORE) == (0, 0)
        assert process.rlimit(psutil.RLIMIT_NOFILE) == (16, 16)
        with open(f"/proc/{made.pid}/coredump_filter") as file:  # noqa: ASYNC230 (no disk is read)
            assert int(file.read(), 16) == 0
        with open(f"/proc/{made.pid}/oom_score_adj") as file:  # noqa: ASYNC230
            assert file.read() == "1000\n"
        folder = f"/proc/{made.pid}/fd"
        await until(lambda: len(os.listdir(folder)) == 4)
        targets = sorted(os.readlink(f"{folder}/{number}") for number in os.listdir(folder))
        assert targets[:3] == [os.devnull] * 3
        assert targets[3].startswith("socket:")


async def test_a_process_inherits_no_descriptor_of_another_one() -> None:
    async with isolation(replace(BOUNDS, count=2)) as made:
        calls = [asyncio.create_task(made.decode(SLOW_TIFF)) for _ in range(2)]
        await until(lambda: len(made.processes.pids) == 2)
        folders = [f"/proc/{pid}/fd" for pid in made.processes.pids]
        await until(lambda: all(len(os.listdir(folder)) == 4 for folder in folders))
        for call in calls:
            call.cancel()
        await asyncio.gather(*calls, return_exceptions=True)


async def test_a_lower_limit_of_the_server_holds(monkeypatch: pytest.MonkeyPatch) -> None:
    memory = 1 << 30
    under = (
        "import resource, runpy\n"
        f"resource.setrlimit(resource.RLIMIT_AS, ({memory}, {memory}))\n"
        "runpy.run_module('sightline_server.stages.processes.fork_server', run_name='__main__')"
    )
    monkeypatch.setattr(link, "COMMAND", ("-P", "-c", under))
    async with isolation() as made, at_work(made) as process:
        assert process.rlimit(psutil.RLIMIT_AS) == (memory, memory)


async def test_a_process_knows_nothing_of_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SIGHTLINE_SECRET", "hunter2")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "hunter2")
    async with isolation() as made, at_work(made) as process:
        assert "hunter2" not in process.environ().values()


async def test_each_photo_has_a_process_that_ends_with_it() -> None:
    async with isolation() as made:
        for photo in (TIFF, TIFF[: len(TIFF) // 2], TIFF):
            with suppress(SightlineError):
                await made.decode(photo)
            await until(lambda: not made.processes.pids and not decoders())
    assert made.ends == []


async def test_the_fork_server_stays_with_one_thread_and_its_own_descriptors() -> None:
    async with isolation() as made:
        await made.decode(TIFF)
        server = made.fork_server()
        await made.decode(TIFF)
        assert made.fork_server() == server
        assert server.num_threads() == 1
        folder = f"/proc/{server.pid}/fd"
        # Three standard ones and the server's socket.
        await until(lambda: len(os.listdir(folder)) == 4)
    assert not server.is_running() or server.status() == psutil.STATUS_ZOMBIE


async def test_a_fork_server_that_was_killed_is_replaced() -> None:
    async with isolation(replace(BOUNDS, count=2)) as made:
        call = await decoding(made)
        server = made.fork_server()
        server.kill()
        error = await refusal(call)
        assert (error.kind, error.field) == (ErrorKind.LIMIT_EXCEEDED, "photo")
        await until(lambda: not decoders())
        assert (await made.decode(TIFF)).width == 48
        assert made.fork_server() != server
    assert made.ends == ["crashed"]


async def test_a_close_while_the_fork_server_starts_leaves_none() -> None:
    async with isolation() as made:
        call = asyncio.create_task(made.decode(TIFF))
        await until(made.fork_servers)
        closing = asyncio.create_task(made.processes.close())
        error = await refusal(call)
        assert error.kind in (ErrorKind.INTERNAL, ErrorKind.LIMIT_EXCEEDED)
        await closing
        assert made.fork_servers() == []


async def test_calls_that_leave_while_their_process_is_forked_leave_no_process_and_no_descriptor() -> None:
    async with isolation(replace(BOUNDS, count=2)) as made:
        await made.decode(TIFF)
        before, others = len(os.listdir("/proc/self/fd")), {each.pid for each in decoders()}
        for pause in range(40):
            call = asyncio.create_task(made.decode(SLOW_TIFF))
            await asyncio.sleep(pause * 0.0005)
            call.cancel()
            with pytest.raises(asyncio.CancelledError):
                await call
            assert [each for each in decoders() if each.pid not in others] == made.processes.pids == []
        assert (await made.decode(TIFF)).width == 48
        await until(lambda: len(os.listdir("/proc/self/fd")) <= before + 2)


async def test_many_photos_at_once_start_at_most_count_processes() -> None:
    async with isolation(replace(BOUNDS, count=2)) as made:
        frames = await asyncio.gather(*(made.decode(TIFF) for _ in range(8)))
        assert len(frames) == 8
        assert len(made.processes.pids) <= 2


async def test_process_that_cannot_start_is_an_internal_error(monkeypatch: pytest.MonkeyPatch) -> None:
    async with isolation() as made:
        monkeypatch.setattr(link, "COMMAND", ("-c", "raise SystemExit(3)"))
        error = await refusal(made.decode(TIFF))
        assert (error.kind, error.message) == (ErrorKind.INTERNAL, "internal error")
        monkeypatch.undo()
        assert (await made.decode(TIFF)).width == 48


SERVER = """
import asyncio, sys
from tests.support.isolation import isolation
from tests.unit.stages.test_decode_processes import SLOW_TIFF, decoding

async def main():
    async with isolation() as made:
        call = await decoding(made)
        print(made.pid, flush=True)
        await call

asyncio.run(main())
"""


def test_no_process_outlives_a_killed_server() -> None:
    server = subprocess.Popen([sys.executable, "-c", SERVER], stdout=subprocess.PIPE, text=True)
    assert server.stdout is not None
    decoder = psutil.Process(int(server.stdout.readline()))
    server.kill()
    server.wait()
    server.stdout.close()
    deadline = time.monotonic() + GONE_S
    while decoder.is_running() and decoder.status() != psutil.STATUS_ZOMBIE:
        assert time.monotonic() < deadline
