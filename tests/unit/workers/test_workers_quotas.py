"""Counts that workers share: each uses those that it inherits, and the parent forgets the calls of a dead one."""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from sightline_server.access.quotas.quota import Quota
from sightline_server.access.quotas.tables import SharedTables
from sightline_server.settings import Settings
from sightline_server.workers.serving import Parent
from sightline_server.workers.task import Task
from sightline_server.workers.worker import quota_tables

QUOTA = Quota(concurrent=1)


@dataclass
class Ended:
    """A worker that has ended, and the engine that it used."""

    number: int = 2
    identity: str = "identity"
    forgotten: str = ""

    def forget_process(self, identity: str) -> None:
        self.forgotten = identity


@pytest.fixture
def shared() -> Iterator[SharedTables]:
    tables = SharedTables(2)
    yield tables
    tables.close()


def task(number: int, shared: SharedTables) -> Task:
    settings = Settings.model_validate({"server": {"workers": 2}})
    return Task(number, settings, {}, "/tmp/metrics", (), quotas=os.dup(shared.descriptor))


def test_workers_count_in_what_they_inherit_and_hand_it_to_no_other_process(shared: SharedTables) -> None:
    tasks = [task(number, shared) for number in (1, 2)]
    one, two = (quota_tables(each) for each in tasks)
    assert one is not None and two is not None
    assert one.principals.enter(b"app", QUOTA, 1.0).refused_by == ""
    assert two.principals.enter(b"app", QUOTA, 1.0).refused_by == "concurrent"
    for each in tasks:
        assert each.quotas is not None
        assert not os.get_inheritable(each.quotas)


def test_a_worker_without_a_policy_has_no_shared_counts() -> None:
    assert quota_tables(Task(1, Settings(), {}, "/tmp/metrics", ())) is None


async def test_the_calls_of_a_worker_that_ended_are_forgotten(shared: SharedTables, tmp_path: Path) -> None:
    one, two = (quota_tables(task(number, shared)) for number in (1, 2))
    assert one is not None and two is not None
    assert two.principals.enter(b"app", QUOTA, 1.0).refused_by == ""
    nothing: Any = None
    ended: Any = Ended()
    parent = Parent(Settings(), nothing, tmp_path, ended, nothing, quotas=shared)
    await parent.tidy(ended)
    assert ended.forgotten == "identity"
    assert one.principals.enter(b"app", QUOTA, 1.0).refused_by == ""
