"""The effect of SIGHUP in each state of the server, and its way from the kernel into the event loop."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from sightline_server.app.reload import reload_files
from sightline_server.cli.hangup import Hangups
from tests.support.authority import Authority
from tests.support.lens import serving


def test_a_hangup_reloads_a_server_that_serves() -> None:
    asked: list[str] = []
    hangups = Hangups()
    hangups.serving(lambda: asked.append("reload"))
    assert asked == []
    hangups.received()
    hangups.received()
    assert asked == ["reload", "reload"]


def test_hangups_while_it_starts_are_one_reload_when_it_serves() -> None:
    asked: list[str] = []
    hangups = Hangups()
    hangups.received()
    hangups.received()
    hangups.serving(lambda: asked.append("reload"))
    assert asked == ["reload"]


def test_a_hangup_while_it_stops_does_nothing() -> None:
    hangups = Hangups()
    hangups.serving(lambda: pytest.fail("reloaded"))
    hangups.stopping()
    hangups.received()


FLOOD = '''
import asyncio, os, signal, subprocess, sys
from sightline_server.cli.hangup import block_hangup, receive_hangups

block_hangup()
SENDER = """
import os, signal, sys, time
for _ in range(20000):
    os.kill(int(sys.argv[1]), signal.SIGHUP)
    time.sleep(1e-5)
"""

async def main():
    terminated = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, terminated.set)
    receive_hangups(lambda: None)
    # The loop is busy meanwhile, as it is while it imports.
    subprocess.run([sys.executable, "-c", SENDER, str(os.getpid())], check=True)
    os.kill(os.getpid(), signal.SIGTERM)
    await asyncio.wait_for(terminated.wait(), 10)

asyncio.run(main())
'''


def test_a_flood_of_hangups_loses_no_other_signal() -> None:
    subprocess.run([sys.executable, "-c", FLOOD], check=True, timeout=60)


PROGRAM = """
import asyncio, json, os, signal, subprocess, sys, threading
from sightline_server.cli.hangup import block_hangup, receive_hangups

block_hangup()

async def main():
    received = asyncio.Event()
    receive_hangups(received.set)
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    for _ in range(100):
        received.clear()
        os.kill(os.getpid(), signal.SIGHUP)
        await asyncio.wait_for(received.wait(), 10)
    # A child inherits the blocked signal, also through exec: nothing of it must have run.
    os.kill(child.pid, signal.SIGHUP)
    child.stdin.write(b"\\n")
    child.stdin.close()
    print(json.dumps({"child": child.wait(10)}))

asyncio.run(main())
os.kill(os.getpid(), signal.SIGHUP)
os.kill(os.getpid(), signal.SIGHUP)
print(json.dumps({"after": "the loop"}))
"""


def test_every_hangup_arrives_children_live_and_so_does_a_process_whose_loop_is_closed() -> None:
    ran = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, timeout=60)
    assert ran.returncode == 0, ran.stderr
    assert [json.loads(line) for line in ran.stdout.splitlines()] == [{"child": 0}, {"after": "the loop"}]
    assert ran.stderr == ""


async def test_reload_of_a_server_without_tls_says_that_there_is_nothing(caplog: pytest.LogCaptureFixture) -> None:

    async with serving() as served:
        with caplog.at_level("INFO"):
            await reload_files(served.door.certificates)
    assert any("no TLS files" in record.getMessage() for record in caplog.records)


async def test_reload_of_a_server_with_tls_reads_the_files(tmp_path: Path) -> None:

    authority = Authority(tmp_path)
    async with serving(server={"tls_cert": authority.cert, "tls_key": authority.key}) as served:
        assert served.door.certificates is not None
        issued = authority.issue()
        await reload_files(served.door.certificates)
        assert served.door.certificates.used[0] == issued
