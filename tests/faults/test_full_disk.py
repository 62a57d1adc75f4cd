"""A disk that is full, out of inodes or read-only at every step of a catalog's change: a clear error, and no harm.

The catalog is on a small disk in a user namespace (`unshare -rm`), which needs no root.
"""

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.support.effort import Effort
from tests.support.full_disk import STEPS

FULL = ["adopt", "open", "upsert", "checkpoint", "rollback", "compact", "originals"]
"""Steps of a short session: `update` and `delete` write to the log as `upsert` does."""


def within(*arguments: str) -> list[str]:
    """The command that becomes `arguments` where it may mount; skips where that is not allowed."""
    unshare = shutil.which("unshare")
    if unshare is None:
        pytest.skip("no unshare(1)")
    prefix = [unshare, "--user", "--map-root-user", "--mount"]
    tried = subprocess.run([*prefix, "mount", "-t", "tmpfs", "tmpfs", "/mnt"], capture_output=True, text=True)
    if tried.returncode:
        pytest.skip(f"no mounts in user namespaces here: {tried.stderr.strip()}")
    return [*prefix, *arguments]


def swept(folder: Path, stride: int, steps: list[str]) -> list[dict[str, Any]]:
    """The outcome of each of `steps`, such as "upsert:blocks"."""
    command = within(sys.executable, "-m", "tests.support.full_disk", str(folder), str(stride), *steps)
    ran = subprocess.run(command, capture_output=True, text=True, timeout=None if Effort.long else 110, check=False)
    assert ran.returncode == 0, ran.stderr
    return [json.loads(line) for line in ran.stdout.splitlines()]


@pytest.mark.parametrize(("resource", "stride"), [("blocks", 6), ("inodes", 5)])
def test_a_full_disk_at_any_step_harms_nothing_and_is_named(tmp_path: Path, resource: str, stride: int) -> None:
    names = list(STEPS) if Effort.long else FULL
    found = swept(tmp_path, 1 if Effort.long else stride, [f"{name}:{resource}" for name in names])
    assert {each["step"]: each["faults"] for each in found} == {f"{name}:{resource}": [] for name in names}
    assert sum(each["refused"] for each in found) > len(FULL)


def test_a_read_only_disk_at_any_step_harms_nothing_and_is_named(tmp_path: Path) -> None:
    names = list(STEPS) if Effort.long else FULL
    found = swept(tmp_path, 1, [f"{name}:read-only" for name in names])
    assert {each["step"]: each["faults"] for each in found} == {f"{name}:read-only": [] for name in names}
    assert all("can be written" in message for each in found for message in each["messages"])


@pytest.mark.parametrize(("resource", "stride"), [("blocks", 4), ("inodes", 3), ("read-only", 1)])
def test_a_full_disk_of_a_replica_harms_nothing_and_is_named(tmp_path: Path, resource: str, stride: int) -> None:
    tries = str(1 if Effort.long else stride)
    command = within(sys.executable, "-m", "tests.support.full_replica", str(tmp_path), tries, resource)
    ran = subprocess.run(command, capture_output=True, text=True, timeout=None if Effort.long else 110, check=False)
    assert ran.returncode == 0, ran.stderr
    assert int(ran.stdout) > (0 if resource == "read-only" else 2)
