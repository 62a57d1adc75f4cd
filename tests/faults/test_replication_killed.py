"""A publisher and a follower that are killed at many of their steps: the replica has one whole revision each time."""

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.effort import Effort
from tests.support.replicas import Site

NEVER = 1_000_000


def killed(verb: str, folder: Path, last: int) -> int | None:
    """Ends a step at its change number `last`; returns the number of changes of one that succeeded."""
    command = [sys.executable, "-m", "tests.support.killed_replication", verb, str(folder), str(last)]
    ran = subprocess.run(command, capture_output=True, text=True, timeout=100, check=False)
    if ran.returncode == -signal.SIGKILL:
        return None
    assert ran.returncode == 0, ran.stderr
    return int(ran.stdout)


@pytest.mark.parametrize("verb", ["publish", "follow"])
def test_killed_step_leaves_a_whole_revision_and_the_next_one_goes_on(tmp_path: Path, verb: str) -> None:
    site = Site(tmp_path)
    site.build()
    first = site.change("first")
    site.publish()
    site.follow()
    second = site.change("second", 91)
    if verb == "follow":
        site.publish()
    last, stride = 1, 1 if Effort.long else 4
    while killed(verb, tmp_path, last) is None:
        # A fresh reader, as after a restart: nothing of the killed one is believed.
        reader = Site(tmp_path)
        assert reader.revision in (first, second)
        assert reader.ids() >= {"first"}
        if verb == "publish":
            reader.follow()
            assert reader.revision in (first, second)
            assert ("second" in reader.ids()) == (reader.revision == second)
        last += stride
    assert last > 1 + stride, "it was killed at least twice"
    after = Site(tmp_path)
    after.publish()
    after.follow()
    assert after.revision == second
    assert "second" in after.ids()
    assert not list(tmp_path.glob("*.partial-*"))
    assert not [path for path in after.objects() if "partial" in path.name]
