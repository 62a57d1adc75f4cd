"""The stores of used grants: once, bounded, and nothing is forgotten while it could be valid."""

import fcntl
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sightline_server import runtime_folder
from sightline_server.access.grants.host_folder import used_grants_folder
from sightline_server.access.grants.host_store import HostStore
from sightline_server.access.grants.process_store import ProcessStore
from sightline_server.errors import ErrorKind, SightlineError


class Clock:
    """A clock that a test sets."""

    now = 100.0

    def __call__(self) -> float:
        return self.now


def key(number: int) -> bytes:
    return number.to_bytes(32, "big")


async def test_a_grant_is_used_once_while_it_is_kept() -> None:
    clock = Clock()
    store = ProcessStore(kept_s=141, most=10, clock=clock)
    assert await store.use(key(1))
    clock.now += 140.9
    assert not await store.use(key(1)), "also at the end of its life"
    assert await store.use(key(2))
    clock.now += 0.2
    assert await store.use(key(3))
    assert len(store) == 2, "what has expired is forgotten"


async def test_a_full_store_refuses_until_something_expires() -> None:
    clock = Clock()
    store = ProcessStore(kept_s=10, most=2, clock=clock)
    assert await store.use(key(1))
    clock.now += 5
    assert await store.use(key(2))
    with pytest.raises(SightlineError) as caught:
        await store.use(key(3))
    assert caught.value.kind is ErrorKind.OVERLOADED
    assert caught.value.metadata == {"limit": "consent_store"}
    assert not await store.use(key(1)), "a used one is still reported as used"
    clock.now += 5
    assert await store.use(key(3))
    assert not await store.use(key(2))


@given(st.lists(st.tuples(st.integers(0, 5), st.floats(0, 4)), max_size=60))
async def test_no_grant_works_twice_within_its_time(uses: list[tuple[int, float]]) -> None:
    clock = Clock()
    store = ProcessStore(kept_s=10, most=4, clock=clock)
    used: dict[int, float] = {}
    for number, seconds in uses:
        clock.now += seconds
        try:
            first = await store.use(key(number))
        except SightlineError:
            assert len(store) == 4
            continue
        assert first == (number not in used or clock.now >= used[number] + 10)
        if first:
            used[number] = clock.now
        assert len(store) <= 4


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "used"


async def test_two_processes_with_one_folder_count_a_grant_once(folder: Path) -> None:
    first, second = (HostStore(folder, kept_s=141, most=10) for _ in range(2))
    assert await first.use(key(1))
    assert not await second.use(key(1))
    assert await second.use(key(2))
    assert os.stat(folder).st_mode & 0o777 == 0o700
    assert [os.stat(folder / name).st_size for name in os.listdir(folder)] == [0, 0]
    assert not await HostStore(folder, kept_s=141, most=10).use(key(2)), "also for a server that starts later"


USE = """
import asyncio, sys
from pathlib import Path
from sightline_server.access.grants.host_store import HostStore
async def use(store):
    return sum([await store.use(number.to_bytes(32, "big")) for number in range(200)])
store = HostStore(Path(sys.argv[1]), kept_s=141, most=1000)
print("ready", flush=True)
sys.stdin.readline()
print(asyncio.run(use(store)))
"""


def test_processes_that_race_for_grants_get_each_once_in_total(folder: Path) -> None:
    racers = [
        subprocess.Popen(
            [sys.executable, "-c", USE, str(folder)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        for _ in range(3)
    ]
    for racer in racers:
        assert racer.stdout is not None and racer.stdout.readline() == "ready\n"
    outputs = [racer.communicate("\n", timeout=60)[0] for racer in racers]
    assert sum(int(output) for output in outputs) == 200


async def test_files_of_expired_grants_are_removed_and_others_are_not(folder: Path) -> None:
    now = time.time()
    store = HostStore(folder, kept_s=141, most=10, now=lambda: now)
    assert await store.use(key(1)) and await store.use(key(2))
    os.utime(folder / key(1).hex(), (now - 142, now - 142))
    (folder / "notes.txt").write_text("of somebody")
    os.utime(folder / "notes.txt", (1, 1))
    store.sweep()
    assert set(os.listdir(folder)) == {key(2).hex(), "notes.txt"}
    assert not await store.use(key(2))
    assert await store.use(key(1))


async def test_a_full_folder_refuses_until_something_expires(folder: Path) -> None:
    store = HostStore(folder, kept_s=141, most=2)
    assert await store.use(key(1)) and await store.use(key(2))
    with pytest.raises(SightlineError) as caught:
        await store.use(key(3))
    assert caught.value.kind is ErrorKind.OVERLOADED
    assert not await store.use(key(1))
    os.utime(folder / key(1).hex(), (1, 1))
    store.sweep()
    assert await store.use(key(3))


async def test_a_folder_that_cannot_be_written_refuses(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    store = HostStore(folder, kept_s=141, most=2)
    os.rmdir(folder)
    with pytest.raises(SightlineError) as caught:
        await store.use(key(1))
    assert caught.value.kind is ErrorKind.GRANT_STORE_UNAVAILABLE
    assert key(1).hex() not in caplog.text + caught.value.message


def test_a_folder_that_others_can_enter_is_refused(folder: Path) -> None:
    folder.mkdir()
    folder.chmod(0o755)
    with pytest.raises(SightlineError, match="must belong to this user alone") as caught:
        HostStore(folder, kept_s=141, most=2)
    assert caught.value.kind is ErrorKind.CONFIGURATION
    with pytest.raises(SightlineError, match="No such file"):
        HostStore(folder / "a" / "b", kept_s=141, most=2)


def test_the_folder_of_a_server_ends_with_it_and_what_a_killed_one_left_is_removed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.delenv("XDG_RUNTIME_DIR", raising=False)
    left, alive = tmp_path / "sightline-1-1-grants-00", tmp_path / "sightline-1-2-grants-00"
    for each in (left, alive):
        each.mkdir(mode=0o700)
        (each / key(1).hex()).touch()
    lock = os.open(alive, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with used_grants_folder() as made:
            assert made.parent == tmp_path and made.stat().st_mode & 0o777 == 0o700
            (made / key(2).hex()).touch()
            assert not left.exists()
            assert alive.exists(), "a server in another container holds it"
        assert not made.exists()
    finally:
        os.close(lock)


def test_no_folder_for_used_grants_is_an_error_that_says_what_to_set(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runtime_folder, "TEMPORARY", (str(tmp_path / "absent"),))
    for name in ("TMPDIR", "XDG_RUNTIME_DIR"):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(
        SightlineError, match=r"no folder for used grants: .*No such file.*consent\.store_folder"
    ) as caught:
        used_grants_folder().__enter__()
    assert caught.value.kind is ErrorKind.CONFIGURATION
