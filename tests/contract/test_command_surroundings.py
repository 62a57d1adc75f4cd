"""Commands in separate processes: closed pipes, full disks, Ctrl-C, other encodings, no terminal."""

import asyncio
import os
import pty
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest
from PIL import Image

from sightline_client import events
from tests.support.fake_lens import ANSWER, FakeLens, Hang, ranked, serving

COMMAND = [sys.executable, "-m", "sightline_client.cli"]
HOSTILE = "a\x1b]0;renamed\x07b\x9b31m\u202ec\nd"
WIDE = [
    ANSWER[0],
    events.Detected((events.DetectedObject("o1", events.Box.whole(), "chair"),)),
    events.ObjectResults("o1", tuple(ranked(f"stühl-{number}", number) for number in range(1, 2000))),
    ANSWER[-1],
]
"""An answer that is larger than a pipe's buffer."""


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    """A file that stands for a photo."""
    (tmp_path / "photo.jpg").write_bytes(b"photo")
    return tmp_path / "photo.jpg"


async def run(
    *arguments: str | bytes,
    stdout: int = subprocess.PIPE,
    env: Mapping[str, str] | None = None,
) -> subprocess.CompletedProcess[bytes]:
    return await asyncio.to_thread(
        subprocess.run,
        [*COMMAND, *arguments],
        stdin=subprocess.DEVNULL,
        stdout=stdout,
        stderr=subprocess.PIPE,
        env={**os.environ, **(env or {})},
        timeout=60,
        check=False,
    )


async def shell(command: str) -> subprocess.CompletedProcess[bytes]:
    return await asyncio.to_thread(subprocess.run, ["sh", "-c", command], capture_output=True, timeout=60, check=False)


def assert_plain(ran: subprocess.CompletedProcess[bytes], code: int, lines: int = 1) -> None:
    assert ran.returncode == code, ran.stderr
    assert b"Traceback" not in ran.stderr
    assert b"Exception ignored" not in ran.stderr
    assert b"internal error" not in ran.stderr
    assert ran.stderr.count(b"\n") <= lines, ran.stderr


@pytest.mark.parametrize("options", [[], ["--json"]], ids=["table", "json"])
async def test_a_reader_that_leaves_ends_the_command_in_silence(photo: Path, options: Sequence[str]) -> None:
    async with serving(FakeLens(lambda _: WIDE)) as target:
        readable, writable = os.pipe()
        os.close(readable)
        ran = await run("search", str(photo), "--target", target, *options, stdout=writable)
        os.close(writable)
    assert_plain(ran, 1, lines=0)


@pytest.mark.parametrize(
    "arguments",
    [["search", "PHOTO", "--target", "TARGET"], ["search", "PHOTO", "--target", "TARGET", "--json"], ["--version"]],
    ids=["table", "json", "version"],
)
async def test_a_full_disk_is_one_line(photo: Path, arguments: Sequence[str]) -> None:
    async with serving(FakeLens()) as target:
        words = [{"PHOTO": str(photo), "TARGET": target}.get(word, word) for word in arguments]
        full = os.open("/dev/full", os.O_WRONLY)
        ran = await run(*words, stdout=full)
        os.close(full)
    assert_plain(ran, 1)
    assert b"No space left on device" in ran.stderr


@pytest.mark.parametrize(
    "command",
    ["--help", "search --help", "doctor", "models list", "serve --print-config"],
)
async def test_every_command_survives_output_that_cannot_be_written(command: str) -> None:
    readable, writable = os.pipe()
    os.close(readable)
    assert_plain(await run(*command.split(), stdout=writable), 1, lines=0)
    os.close(writable)
    full = os.open("/dev/full", os.O_WRONLY)
    ran = await run(*command.split(), stdout=full)
    os.close(full)
    assert_plain(ran, 1)
    assert b"No space left on device" in ran.stderr


@pytest.mark.parametrize(
    ("out", "problem"),
    [
        ("/dev/full/out.png", b"Not a directory"),
        ("/proc/out.png", b"No such file or directory"),
        ("FOLDER", b"unknown file extension"),
        ("FOLDER/out.klingon", b"unknown file extension"),
    ],
)
async def test_an_image_that_cannot_be_written_is_one_line(photo: Path, out: str, problem: bytes) -> None:
    async with serving(FakeLens()) as target:
        Image.new("RGB", (8, 8)).save(photo)
        ran = await run(
            "search", str(photo), "--target", target, "--annotate", out.replace("FOLDER", str(photo.parent))
        )
    assert_plain(ran, 1)
    assert problem in ran.stderr


async def test_a_photo_that_cannot_be_drawn_on_is_one_line(photo: Path, tmp_path: Path) -> None:
    async with serving(FakeLens()) as target:
        ran = await run("search", str(photo), "--target", target, "--annotate", str(tmp_path / "out.png"))
    assert_plain(ran, 1)
    assert not (tmp_path / "out.png").exists()


async def test_a_file_size_limit_is_one_line(photo: Path, tmp_path: Path) -> None:
    Image.effect_noise((256, 256), 100).save(photo)
    async with serving(FakeLens()) as target:
        command = f"ulimit -f 1; exec {sys.executable} -m sightline_client.cli search {photo} --target {target}"
        ran = await shell(f"{command} --annotate {tmp_path}/out.png")
    assert_plain(ran, 1)
    assert b"File too large" in ran.stderr


@pytest.mark.parametrize("number", [signal.SIGINT], ids=["ctrl-c"])
@pytest.mark.parametrize("command", ["search", "eval"])
async def test_ctrl_c_while_the_server_works_exits_130(photo: Path, command: str, number: signal.Signals) -> None:
    fake = FakeLens(lambda _: [ANSWER[0], Hang()])
    (photo.parent / "queries.csv").write_text("image,product_id\nphoto.jpg,a\n")
    source = photo if command == "search" else photo.parent / "queries.csv"
    async with serving(fake) as target:
        process = await asyncio.create_subprocess_exec(
            *COMMAND, command, str(source), "--target", target, stderr=subprocess.PIPE, stdout=subprocess.PIPE
        )
        await fake.hanging.wait()
        process.send_signal(number)
        _, error = await process.communicate()
    assert process.returncode == 130, error
    assert b"Traceback" not in error
    await asyncio.wait_for(fake.cancelled.wait(), 10)


def wait_until_asleep(pid: int) -> None:
    while "State:\tS" not in Path(f"/proc/{pid}/status").read_text():
        os.sched_yield()


async def test_ctrl_c_while_standard_input_is_read_exits_130() -> None:
    process = await asyncio.create_subprocess_exec(
        *COMMAND, "search", "-", stdin=subprocess.PIPE, stderr=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert process.stdin is not None
    # More than a pipe holds: when most of it is gone, the command is reading; and then it waits for more.
    process.stdin.write(bytes(2_000_000))
    await process.stdin.drain()
    await asyncio.to_thread(wait_until_asleep, process.pid)
    process.send_signal(signal.SIGINT)
    _, error = await process.communicate()
    assert process.returncode == 130, error
    assert b"Traceback" not in error


INTERRUPTED_IMPORT = """
import builtins, os, signal, sys
from sightline_client.cli import main
original, module = builtins.__import__, sys.argv.pop(1)
def interrupting(name, *rest, **more):
    if name == module:
        os.kill(os.getpid(), signal.SIGINT)
    return original(name, *rest, **more)
builtins.__import__ = interrupting
main()
"""


@pytest.mark.parametrize(
    ("module", "arguments"),
    [
        ("grpc", ["search", "-"]),
        ("rich.table", ["search", "-"]),
        ("typer", ["--help"]),
        ("pydantic", ["doctor"]),
        ("lance", ["catalog", "info", "/nowhere"]),
        ("lance", ["serve", "--listen", "127.0.0.1:0", "--metrics-listen", "127.0.0.1:0"]),
    ],
    ids=["grpc", "rich", "typer", "doctor", "catalog", "serve"],
)
def test_ctrl_c_while_modules_are_loaded_exits_130(module: str, arguments: Sequence[str]) -> None:
    command = [sys.executable, "-c", INTERRUPTED_IMPORT, module, *arguments]
    assert_plain(subprocess.run(command, capture_output=True, timeout=60, check=False), 130)


@pytest.mark.parametrize(
    "env",
    [{"LANG": "C", "LC_ALL": "C"}, {"PYTHONIOENCODING": "ascii"}, {"PYTHONIOENCODING": "latin-1", "TERM": "dumb"}],
    ids=["C", "ascii", "latin-1"],
)
async def test_a_terminal_without_the_letters_gets_them_escaped(photo: Path, env: Mapping[str, str]) -> None:
    async with serving(FakeLens(lambda _: WIDE)) as target:
        ran = await run("search", str(photo), "--target", target, env=env)
    assert_plain(ran, 0, lines=0)
    assert b"hl-100 " in ran.stdout


async def test_a_name_that_is_no_utf_8_is_shown(tmp_path: Path) -> None:
    name = os.fsencode(tmp_path) + b"/st\xfchl.jpg"
    ran = await run("search", name)
    assert_plain(ran, 2, lines=2)
    assert rb"st\udcfchl.jpg" in ran.stderr
    Path(os.fsdecode(name)).write_bytes(b"photo")  # noqa: ASYNC240
    async with serving(FakeLens()) as target:
        assert_plain(await run("search", name, "--target", target), 0, lines=0)


async def test_a_surrogate_in_the_catalogs_name_is_named(photo: Path) -> None:
    ran = await run("search", str(photo), "--target", "127.0.0.1:1", "--catalog", b"st\xfchle")
    assert_plain(ran, 1)
    assert b"catalog" in ran.stderr


@pytest.mark.parametrize("closed", [0, 1, 2], ids=["stdin", "stdout", "stderr"])
async def test_a_closed_stream_is_no_traceback(photo: Path, closed: int) -> None:
    source = "-" if closed == 0 else str(photo)
    async with serving(FakeLens()) as target:
        command = f"exec {sys.executable} -m sightline_client.cli search {source} --target {target} {closed}>&-"
        ran = await shell(command)
    assert ran.returncode == (2 if closed == 0 else 0), ran.stderr
    assert b"Traceback" not in ran.stderr + ran.stdout


def on_terminal(arguments: Sequence[str], env: Mapping[str, str]) -> bytes:
    """The output of a command on a terminal."""
    parent, child = pty.openpty()
    process = subprocess.Popen(
        [*COMMAND, *arguments],
        stdin=child,
        stdout=child,
        stderr=child,
        env={**os.environ, "TERM": "xterm-256color", **env},
    )
    os.close(child)
    written = b""
    while True:
        try:
            part = os.read(parent, 65536)
        except OSError:  # the other end is closed
            break
        if not part:
            break
        written += part
    os.close(parent)
    assert process.wait(30) == 0, written
    return written


HOSTILE_ANSWER = [
    events.Accepted(HOSTILE),
    events.Detected((events.DetectedObject("o1", events.Box.whole(), HOSTILE),)),
    events.ObjectResults(
        "o1",
        (events.RankedProduct(events.Product(HOSTILE, title=HOSTILE), 0.5, 0.5, 1, HOSTILE, events.MatchLevel.WEAK),),
    ),
    events.Done(events.StageTimings(), HOSTILE, HOSTILE, HOSTILE, HOSTILE),
]


async def test_a_terminal_stays_as_it_is(photo: Path) -> None:
    async with serving(FakeLens(lambda _: HOSTILE_ANSWER)) as target:
        arguments = ["search", str(photo), "--target", target]
        coloured = await asyncio.to_thread(on_terminal, arguments, {})
        plain = await asyncio.to_thread(on_terminal, arguments, {"NO_COLOR": "1"})
    assert b"\x1b[" in coloured
    for written in (coloured, plain):
        assert b"\x1b]" not in written
        assert b"\x07" not in written
        assert "\x9b".encode() not in written
        assert "\u202e".encode() not in written
        assert rb"\x1b]0;" in written
    colours = [part for part in plain.split(b"\x1b[")[1:] if part[:1] == b"3" or part[:1] == b"9"]
    assert colours == []


async def test_grpc_does_not_write_beside_our_message(photo: Path) -> None:
    ran = await run("search", str(photo), "--target", "ipv4:1.2.3.4.5:6", "--insecure")
    assert_plain(ran, 1)
    assert ran.stderr.startswith(b"sightline: target 'ipv4:1.2.3.4.5:6' is not an address")


def test_a_fault_of_ours_is_one_line_and_a_traceback_on_request() -> None:
    code = (
        "import sys\n"
        "from sightline_client.cli import main, search\n"
        "def fail(photo):\n"
        "    secret = b'photo bytes'\n"
        "    raise TypeError('wrong\\x1b type')\n"
        "search._regions = lambda boxes, taps: fail(b'photo bytes')\n"
        "main()"
    )
    command = [sys.executable, "-c", code, "search", "-"]
    plain = subprocess.run(command, capture_output=True, input=b"x", timeout=60, check=False)
    assert plain.returncode == 1
    assert plain.stderr.startswith(b"sightline: internal error: TypeError: wrong\\x1b type at <string>:5; run with")
    assert plain.stderr.count(b"\n") == 1
    env = {**os.environ, "SIGHTLINE_TRACEBACK": "1"}
    full = subprocess.run(command, capture_output=True, input=b"x", timeout=60, check=False, env=env)
    assert full.returncode == 1
    assert b"Traceback" in full.stderr
    for ran in (plain, full):
        assert b"photo bytes" not in ran.stderr
