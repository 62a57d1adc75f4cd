"""The lease of a catalog in Milvus, with reservations in memory and a clock of the test's own."""

import pytest

from sightline_server.errors import ErrorKind, SightlineError
from sightline_server.index.milvus.lease import SETTLE_S, SILENT_S, Holder, Lease, busy, holder_in
from sightline_server.index.milvus.names import alias_of, collections_of, lease_of


class Memory:
    """Reservations as Milvus keeps them: one a name."""

    def __init__(self) -> None:
        self.held: dict[str, list[str]] = {}
        self.now = 0.0

    def reserve(self, name: str, description: str) -> bool:
        if name in self.held:
            return False
        self.held[name] = [description, ""]
        return True

    def reserved(self, name: str) -> tuple[str, str] | None:
        held = self.held.get(name)
        return (held[0], held[1]) if held else None

    def beat(self, name: str, value: str) -> None:
        self.held[name][1] = value

    def drop(self, collection: str) -> None:
        del self.held[collection]

    def sleep(self, seconds: float) -> None:
        self.now += seconds

    def lease(self, purpose: str) -> Lease:
        return Lease(self, "shop", Holder(purpose), clock=lambda: self.now, sleep=self.sleep)


def lost(lease: Lease) -> bool:
    try:
        lease.require()
    except SightlineError as error:
        return error.kind is ErrorKind.INDEX_UNAVAILABLE and error.retry_after_s is not None
    return False


def test_one_of_two_holds_the_lease_and_the_other_learns_who() -> None:
    milvus = Memory()
    first, second = milvus.lease("a push"), milvus.lease("another push")
    assert first.attempt()
    assert not second.attempt() and not second.other_alive
    first.renew()
    assert not second.attempt() and second.other_alive
    assert second.other.startswith("a push on ")
    assert "is being changed by a push on " in busy("shop", second.other).message
    first.release()
    assert second.attempt()
    assert lost(first) and not lost(second)


def test_the_lease_of_a_silent_holder_is_taken_after_a_while_and_its_holder_notices() -> None:
    milvus = Memory()
    dead, waiting = milvus.lease("a push"), milvus.lease("another push")
    assert dead.attempt()
    assert not waiting.attempt()
    milvus.now += SILENT_S - 0.1
    assert lost(dead), "it stops before another one may begin"
    assert not waiting.attempt()
    milvus.now += 0.1
    before = milvus.now
    assert waiting.attempt()
    assert milvus.now == before + SETTLE_S
    dead.renew()
    assert lost(dead) and not lost(waiting)
    dead.release()
    assert not lost(waiting) and milvus.held, "a lease that was lost is not removed"


def test_a_holder_that_beats_is_never_silent() -> None:
    milvus = Memory()
    holder, waiting = milvus.lease("a push"), milvus.lease("another push")
    assert holder.attempt()
    for _ in range(20):
        milvus.now += SILENT_S / 2
        holder.renew()
        assert not waiting.attempt()
    assert not lost(holder)


def test_of_two_that_wait_for_the_same_dead_holder_one_gets_the_lease() -> None:
    milvus = Memory()
    dead, slow, quick = milvus.lease("a push"), milvus.lease("slow"), milvus.lease("quick")
    assert dead.attempt()
    for each in (slow, quick):
        assert not each.attempt()
    milvus.now += SILENT_S
    taken: list[bool] = []

    def quick_takes_it_meanwhile(seconds: float) -> None:
        milvus.now += seconds
        if not taken:
            # It had judged the same silence, and removes what `slow` has just made.
            milvus.drop(lease_of("shop"))
            taken.append(milvus.reserve(lease_of("shop"), quick._mine))

    slow._sleep = quick_takes_it_meanwhile
    assert not slow.attempt()
    assert lost(slow)
    assert quick.attempt() and not lost(quick)


def test_the_same_holder_takes_its_lease_again_at_once() -> None:
    milvus = Memory()
    holder = Holder("a server")
    first = Lease(milvus, "shop", holder, clock=lambda: milvus.now)
    assert first.attempt()
    first.stop()
    assert lost(first)
    assert Lease(milvus, "shop", holder, clock=lambda: milvus.now).attempt()


def test_a_description_of_another_program_is_named_as_such() -> None:
    assert holder_in("no json") == holder_in('{"a": 1}') == "another program"


@pytest.mark.parametrize("name", ["a", "a_lease", "a-lease", "a.b"])
def test_a_lease_is_no_collection_of_a_catalog(name: str) -> None:
    assert lease_of("a") != alias_of(name)
    assert not lease_of(name).startswith(collections_of(name))
