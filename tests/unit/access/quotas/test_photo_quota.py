"""The quota of pseudonyms: one count for all workers, no name in memory, and no more photos for a change of keys."""

import asyncio
import contextlib
import os
import subprocess
import sys
from collections.abc import Iterable

import pytest

from sightline_server.access.quotas.buckets import WAYS
from sightline_server.access.quotas.keys import CURRENT, KEYS_BYTES, NO_KEY, PREVIOUS, PseudonymKeys
from sightline_server.access.quotas.memory import OwnMemory
from sightline_server.access.quotas.photos import PhotoQuota, empty_after_s
from sightline_server.access.quotas.quota import Quota, Rate
from sightline_server.access.quotas.tables import (
    PSEUDONYM_SETS,
    QuotaTables,
    SharedTables,
    inherited_tables,
    memory_size,
)
from sightline_server.errors import ErrorKind, SightlineError
from tests.support.clock import HandClock

RATE = Rate(60, 3)
NAME = "pseudonym-of-today"
TAKE = """
import sys
from sightline_server.access.quotas.photos import PhotoQuota
from sightline_server.access.quotas.quota import Rate
from sightline_server.access.quotas.tables import inherited_tables
from sightline_server.errors import SightlineError
quota = PhotoQuota(Rate(1, 60), inherited_tables(int(sys.argv[1]), workers=2, worker=2), clock=lambda: 1.0)
for line in sys.stdin:
    taken = 0
    for _ in range(int(line)):
        try:
            quota.take("pseudonym-of-today", "app")
            taken += 1
        except SightlineError:
            pass
    print(taken, flush=True)
"""


class Bench:
    """A quota with its own tables and clock."""

    def __init__(self, rate: Rate = RATE) -> None:
        self.clock = HandClock()
        self.memory = OwnMemory(memory_size(1))
        self.tables = QuotaTables(self.memory, workers=1)
        self.tables.keys.renew()
        self.limited: list[tuple[str, tuple[str, ...]]] = []
        self.quota = PhotoQuota(rate, self.tables, clock=self.clock, on_limited=self.on_limited)

    def on_limited(self, principal: str, kinds: Iterable[str]) -> None:
        self.limited.append((principal, tuple(kinds)))

    def taken(self, photos: int, pseudonym: str = NAME) -> int:
        """The number of `photos` that are not refused."""
        refused = 0
        for _ in range(photos):
            try:
                self.quota.take(pseudonym, "app")
            except SightlineError:
                refused += 1
        return photos - refused


def test_each_pseudonym_has_its_own_photos_and_the_refusal_names_nobody() -> None:
    bench = Bench()
    assert (bench.taken(4), bench.taken(4, "another")) == (3, 3)
    with pytest.raises(SightlineError) as caught:
        bench.quota.take(NAME, "app")
    error = caught.value
    assert (error.kind, error.metadata) == (
        ErrorKind.QUOTA_EXCEEDED,
        {"quota": "photos_per_minute", "subject": "pseudonym"},
    )
    assert error.message == "the quota of this person is used up: 60 photos a minute, 3 at once"
    assert error.retry_after_s == pytest.approx(1.0, abs=0.0021)
    bench.clock.now += 1.002
    assert bench.taken(2) == 1
    assert bench.limited == [("app", ("photos_per_minute",))]


def test_a_change_of_keys_gives_nobody_more_photos() -> None:
    bench = Bench()
    assert bench.taken(5) == 3
    for _ in range(2):
        bench.tables.keys.renew()
        assert bench.taken(5) == 0, "what was used is moved to the new name"
        bench.clock.now += 1.0
        assert bench.taken(5) == 1
        bench.clock.now += empty_after_s(RATE) - 1.0
        bench.tables.keys.forget_previous()
        assert bench.taken(5) == 2
        bench.clock.now += 1.0
        assert bench.taken(5) == 1, "a caller that goes on has its rate and no new burst"


def test_every_photo_of_an_hour_of_changes_fits_the_rate() -> None:
    bench, taken, start = Bench(), 0, 0.0
    for second in range(200):
        if second % 20 == 0:
            bench.tables.keys.renew()
        if second % 20 == 5:
            bench.tables.keys.forget_previous()
        bench.clock.now += 1.0
        taken += bench.taken(3)
        assert taken <= RATE.burst + (second - start) * RATE.per_s + 1
    assert taken == RATE.burst + 199


def test_the_memory_has_no_pseudonym_and_after_two_changes_no_name_of_it() -> None:
    bench = Bench()
    bench.taken(1)
    assert NAME.encode() not in bytes(bench.memory.view)
    names = bench.tables.keys.names(NAME)
    assert (len(names.current), names.previous) == (32, b"")
    bench.tables.keys.renew()
    assert bench.tables.keys.names(NAME).previous == names.current
    bench.tables.keys.renew()
    assert names.current not in bench.tables.keys.names(NAME)


def test_a_million_pseudonyms_take_no_more_memory_than_one() -> None:
    assert PSEUDONYM_SETS * WAYS == 65_536
    bench = Bench()
    before = len(bench.memory.view)
    bench.taken(3)
    for number in range(3000):
        bench.clock.now += 1e-6
        bench.quota.take(f"pseudonym-{number}", "app")
    assert bench.taken(1) == 0, "3,000 others do not displace one that was just used"
    assert len(bench.memory.view) == before


def test_a_killed_change_leaves_no_half_key_in_use() -> None:
    memory = OwnMemory(KEYS_BYTES)
    writer, reader = PseudonymKeys(memory, 0), PseudonymKeys(memory, 0)
    writer.renew()
    before = reader.names(NAME)
    memory.view[CURRENT] = b"x" * 32
    assert reader.names(NAME) == before, "keys count from the number on, which is written last"
    writer.renew()
    assert reader.names(NAME) != before


def test_workers_count_one_pseudonym_once_through_a_change_of_keys() -> None:
    shared = SharedTables(2)
    mine = PhotoQuota(Rate(1, 60), inherited_tables(os.dup(shared.descriptor), workers=2, worker=1), clock=lambda: 1.0)
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    command = [sys.executable, "-c", TAKE, str(shared.descriptor)]
    with subprocess.Popen(command, pass_fds=[shared.descriptor], text=True, **pipes) as other:  # type: ignore[call-overload]

        def other_takes(photos: int) -> int:
            other.stdin.write(f"{photos}\n")
            other.stdin.flush()
            return int(other.stdout.readline())

        assert other_takes(20) == 20
        for _ in range(20):
            mine.take(NAME, "app")
        shared.keys.renew()
        assert other_takes(10) == 10
        for _ in range(10):
            mine.take(NAME, "app")
        with pytest.raises(SightlineError):
            mine.take(NAME, "app")
        assert other_takes(5) == 0
        other.stdin.close()
    shared.close()


async def test_keys_are_made_again_and_the_one_before_is_overwritten() -> None:
    memory = OwnMemory(KEYS_BYTES)
    keys = PseudonymKeys(memory, 0)
    keys.renew()
    seen: set[tuple[bytes, bytes]] = set()
    first = bytes(memory.view[CURRENT])
    renewing = asyncio.create_task(keys.keep_renewing(0.002, 0.004))
    while len({current for current, _ in seen}) < 3:
        seen.add((bytes(memory.view[CURRENT]), bytes(memory.view[PREVIOUS])))
        await asyncio.sleep(0)
    renewing.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await renewing
    currents = {current for current, _ in seen}
    assert first in currents and NO_KEY not in currents
    assert {previous for _, previous in seen} <= currents | {NO_KEY}
    assert any(previous == NO_KEY for current, previous in seen if current != first)


def test_what_is_moved_is_gone_from_where_it_was() -> None:
    table, quota = QuotaTables.own().pseudonyms, Quota(calls=RATE)
    assert table.move_out(b"old", quota, 1.0) == 0.0
    table.take(b"old", quota, 1.0)
    table.take(b"old", quota, 1.0)
    assert table.move_out(b"old", quota, 1.5) == pytest.approx(1.5)
    assert table.move_out(b"old", quota, 1.5) == 0.0
