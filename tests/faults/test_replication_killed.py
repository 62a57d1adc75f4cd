"""A publisher and a follower that are killed at many of their steps: the replica has one whole revision each time, and
every operation is published once.
"""

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from sightline_server.index.living import LivingCatalog
from sightline_server.index.replication.description import Description
from sightline_server.index.replication.operations_reader import OperationsReader
from tests.support.catalogs import row, unit_vectors
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


def test_publisher_killed_with_operations_loses_none_and_publishes_each_once(tmp_path: Path) -> None:
    site = Site(tmp_path)
    site.build()
    site.change("first")
    site.publish()
    with LivingCatalog(site.shop) as living:
        for number in range(3):
            living.upsert([row(f"n{number}", unit_vectors(1, number))])
    last, stride = 1, 1 if Effort.long else 2
    while killed("publish", tmp_path, last) is None:
        found = OperationsReader(site.share, site.copy).published()
        assert found is None or operations(site) == [2, 3, 4], "all of them or none"
        last += stride
    assert last > 1 + stride, "it was killed at least twice"
    assert operations(site) == [2, 3, 4]


def operations(site: Site) -> list[int]:
    """The sequence numbers of the operations that are published."""
    reader = OperationsReader(site.share, site.copy)
    tail, description = reader.published(), Description.parse((site.share / "CURRENT").read_bytes())
    assert tail is not None
    assert description.living is not None
    layout = description.living.layout
    return [each.seq for segment in tail.segments for each in reader.operations(segment, layout)]
