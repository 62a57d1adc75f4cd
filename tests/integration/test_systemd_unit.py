"""The systemd unit: systemd takes it, its exposure is what the documentation says, and a server runs under its rules.

systemd cannot run in a test; `tests/support/unit_sandbox.py` applies what the unit forbids by seccomp.
"""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import grpc
import pytest

from tests.support import unit_sandbox
from tests.support.engine import CHECKOUT
from tests.support.world import World, asked, running, search

UNIT = CHECKOUT / "deploy" / "systemd" / "sightline.service"
SANDBOX = (sys.executable, unit_sandbox.__file__, str(UNIT))
needs_systemd = pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="needs systemd-analyze")
needs_seccomp = pytest.mark.skipif(not unit_sandbox.is_possible(), reason="needs libseccomp and systemd-analyze")

FORBIDDEN = """
import ctypes, errno, mmap, os, socket
calls = ctypes.CDLL(None, use_errno=True)

def refusal(name, *arguments):
    ctypes.set_errno(0)
    calls[name](*arguments)
    return errno.errorcode.get(ctypes.get_errno(), "allowed")

page = mmap.mmap(-1, mmap.PAGESIZE)
address = ctypes.c_void_p(ctypes.addressof(ctypes.c_char.from_buffer(page)))
said = [refusal("mprotect", address, mmap.PAGESIZE, 5), refusal("mount", b"none", b"/tmp", b"tmpfs", 0, None)]
said += [refusal("setuid", 0), refusal("ptrace", 0, 0, 0, 0), refusal("swapoff", b"/none"), refusal("chroot", b"/")]
for family in (socket.AF_UNIX, socket.AF_INET, socket.AF_INET6, socket.AF_NETLINK, socket.AF_PACKET, socket.AF_VSOCK):
    try:
        socket.socket(family, socket.SOCK_RAW if family == socket.AF_PACKET else socket.SOCK_DGRAM).close()
        said.append("allowed")
    except OSError as error:
        said.append(errno.errorcode[error.errno])
print(*said)
"""


@needs_systemd
def test_systemd_finds_nothing_wrong_with_the_unit(tmp_path: Path) -> None:
    # The program is not installed where the unit expects it.
    unit = tmp_path / UNIT.name
    unit.write_text(UNIT.read_text().replace("/opt/sightline/venv/bin/sightline", "/bin/true"))
    ended = subprocess.run(["systemd-analyze", "verify", str(unit)], capture_output=True, text=True, timeout=60)
    assert (ended.returncode, ended.stderr) == (0, "")


@needs_systemd
def test_exposure_is_at_most_what_the_documentation_says() -> None:
    documented = re.search(r"`systemd-analyze\s+security` is ([0-9]+\.[0-9]+) \(systemd ([0-9]+);", documentation())
    assert documented is not None
    version = subprocess.run(["systemd-analyze", "--version"], capture_output=True, text=True, timeout=60, check=True)
    if not version.stdout.startswith(f"systemd {documented[2]} "):
        pytest.skip("another version weighs the options in another way")
    command = ["systemd-analyze", "security", "--offline=true", str(UNIT)]
    shown = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False).stdout
    level = re.search(r"exposure level for \S+: ([0-9.]+)", shown)
    assert level is not None
    assert float(level[1]) <= float(documented[1])


def documentation() -> str:
    return (CHECKOUT / "deploy" / "README.md").read_text()


def user_namespace() -> tuple[str, ...]:
    """The program that gives a command a user namespace as PrivateUsers= does; empty where that is not allowed."""
    prefix = (shutil.which("unshare") or "", "--user", "--map-current-user")
    if not prefix[0] or subprocess.run([*prefix, "/bin/true"], capture_output=True, check=False).returncode:
        return ()
    return prefix


@needs_seccomp
def test_rules_of_the_unit_forbid_what_they_should() -> None:
    command = [*SANDBOX, sys.executable, "-c", FORBIDDEN]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    assert ended.stdout.split() == ["EPERM"] * 6 + ["allowed"] * 4 + ["EAFNOSUPPORT"] * 2


@pytest.mark.engine
@pytest.mark.timeout(240)
@needs_seccomp
@pytest.mark.parametrize("workers", [1, 2])
async def test_server_with_its_engine_runs_under_the_rules_of_the_unit(
    workers: int, world: World, tmp_path: Path
) -> None:
    log = tmp_path / "log"
    with running(world, log, prefix=(*user_namespace(), *SANDBOX), SIGHTLINE_SERVER__WORKERS=str(workers)) as server:
        async with grpc.aio.insecure_channel(server.target) as channel:
            answer = await search(channel, asked(world.picture(3)))
        assert answer.best() == "drawn-03"
        server.process.stop()
    text = log.read_text()
    assert "Operation not permitted" not in text
    assert "Traceback" not in text
