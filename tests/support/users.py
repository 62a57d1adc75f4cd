"""Commands as another user, for tests that run as root; they skip elsewhere, and say why.

The interpreter and the checkout may be in a folder that is closed to other users (root's home, a clone with umask 077).
So the other user gets the right to read everything, which does not include the right to write. Rule: that right does
not show in access(2), so the files that a test is about are in `open_folder`.
"""

import os
import shutil
import stat
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.support.engine import CHECKOUT

OTHER_UID = 54321
"""A user without an entry in the passwd file, as containers with arbitrary uids have."""
READ_EVERYTHING = 2
"""The number of the capability CAP_DAC_READ_SEARCH."""
READER = ("--inh-caps=+dac_read_search", "--ambient-caps=+dac_read_search")


def as_other() -> list[str]:
    """The words that make a command one of another user, who may read the code, owns nothing and is in no group.

    Skips the test where this process cannot become another user, or where that user could not read the code.
    """
    setpriv = shutil.which("setpriv")
    if os.geteuid() != 0 or setpriv is None:
        pytest.skip("needs root and setpriv(1)")
    become = [setpriv, f"--reuid={OTHER_UID}", f"--regid={OTHER_UID}", "--clear-groups"]
    if may_grant_reading():
        return [*become, *READER]
    for place in (sys.executable, sys.base_prefix, sys.prefix, CHECKOUT):
        closed = closed_to_others(Path(place))
        if closed is not None:
            pytest.skip(f"other users may not enter {closed}, and this process lacks CAP_DAC_READ_SEARCH")
    return become


def sightline_as_other(*arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """`sightline` as another user, who has no HOME; `variables` are all that its environment gets."""
    command = [*as_other(), sys.executable, "-c", "from sightline_client.cli import main; main()", *arguments]
    environment = {"PATH": os.environ["PATH"], **variables}
    ran = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=90, cwd="/")
    assert "Traceback" not in ran.stderr + ran.stdout
    return ran


@contextmanager
def open_folder() -> Iterator[Path]:
    """A new folder that every user may enter, whatever the umask is and wherever the tests have their files."""
    with tempfile.TemporaryDirectory(prefix="sightline-", dir="/tmp") as name:
        folder = Path(name)
        folder.chmod(0o755)
        yield folder


def let_all_read(path: Path) -> Path:
    """Gives all users the right to read `path` and everything below it; returns it."""
    for each in (path, *path.rglob("*")):
        each.chmod(each.stat().st_mode | (0o055 if each.is_dir() else 0o044))
    return path


def closed_to_others(path: Path) -> Path | None:
    """The outermost folder on the way to `path`, links followed, that other users may not enter; None without one."""
    resolved = path.resolve()
    folders = [*reversed(resolved.parents), *([resolved] if resolved.is_dir() else [])]
    return next((folder for folder in folders if not folder.stat().st_mode & stat.S_IXOTH), None)


def may_grant_reading() -> bool:
    """Returns whether this process has CAP_DAC_READ_SEARCH, which root lacks in a container with default rights."""
    lines = Path("/proc/self/status").read_text().splitlines()
    held = next(line for line in lines if line.startswith("CapPrm:"))
    return bool(int(held.split()[1], 16) >> READ_EVERYTHING & 1)
