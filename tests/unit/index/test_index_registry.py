"""The registry of revisions: a lease holds its own, a replaced one is freed with its last lease and not before."""

import asyncio
import logging
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
import pytest

from sightline_server.access.catalog_pass import EVERY_CATALOG, CatalogPass
from sightline_server.access.seal import SEAL
from sightline_server.domain.request import Lane
from sightline_server.errors import ErrorKind, SightlineError
from sightline_server.index.registry import ClosableSnapshot, Registry, RegistryObserver
from sightline_server.ports import Snapshot
from tests.support.lens import FakeSnapshot, until
from tests.support.passes import pass_to


@dataclass
class Seen:
    """A `RegistryObserver` that records its notifications."""

    events: list[tuple[str, str]] = field(default_factory=list)

    def published(self, snapshot: Snapshot) -> None:
        self.events.append(("published", snapshot.revision))

    def replaced(self, snapshot: Snapshot) -> None:
        self.events.append(("replaced", snapshot.revision))

    def freed(self, snapshot: Snapshot) -> None:
        self.events.append(("freed", snapshot.revision))

    def withdrawn(self, name: str) -> None:
        self.events.append(("withdrawn", name))


if TYPE_CHECKING:
    _observer: RegistryObserver = Seen()
    _snapshot: ClosableSnapshot = FakeSnapshot()


async def test_a_lease_keeps_its_revision_and_the_last_one_frees_it() -> None:
    seen = Seen()
    registry = Registry(seen)
    old, new = FakeSnapshot(revision="old"), FakeSnapshot(revision="new")
    registry.publish(old)
    with registry.lease(pass_to("default")) as first:
        with registry.lease(pass_to("default")) as second:
            registry.publish(new)
            with registry.lease(pass_to("default")) as third:
                assert (first.revision, second.revision, third.revision) == ("old", "old", "new")
        await asyncio.sleep(0)
        assert not old.closed, "one lease still holds it"
    await until(lambda: old.closed)
    await until(lambda: seen.events[-1] == ("freed", "old"))
    assert seen.events == [("published", "old"), ("replaced", "old"), ("published", "new"), ("freed", "old")]
    assert not new.closed
    await registry.close()
    assert new.closed


async def test_a_revision_that_no_call_holds_is_freed_at_once() -> None:
    registry = Registry(Seen())
    old = FakeSnapshot()
    registry.publish(old)
    registry.publish(FakeSnapshot(revision="rev-2"))
    await until(lambda: old.closed)
    await registry.close()


async def test_a_lease_that_ends_in_an_error_is_given_back() -> None:
    registry = Registry(Seen())
    old = FakeSnapshot()
    registry.publish(old)

    def fail() -> None:
        with registry.lease(pass_to("default")):
            registry.publish(FakeSnapshot(revision="rev-2"))
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    await until(lambda: old.closed)
    await registry.close()


async def test_catalogs_are_replaced_each_on_its_own() -> None:
    registry = Registry(Seen())
    registry.publish(FakeSnapshot("a", "a-1"))
    registry.publish(FakeSnapshot("b", "b-1"))
    with registry.lease(pass_to("b")) as held:
        registry.publish(FakeSnapshot("a", "a-2"))
        with registry.lease(pass_to("a")) as other:
            assert (held.revision, other.revision) == ("b-1", "a-2")
    await registry.close()


async def test_a_name_that_is_not_served_is_unknown() -> None:
    registry = Registry(Seen())
    with pytest.raises(SightlineError) as caught, registry.lease(pass_to("shop")):
        raise AssertionError("there is nothing to lease")
    assert caught.value.kind is ErrorKind.UNKNOWN_CATALOG


async def test_a_catalog_that_is_away_is_refused_alone_and_calls_inside_go_on() -> None:
    registry = Registry(Seen())
    registry.publish(FakeSnapshot("a"))
    registry.publish(FakeSnapshot("b"))
    registry.set_away("unpublished", True)
    with registry.lease(pass_to("a")) as inside:
        registry.set_away("a", True)
        assert await inside.nearest(np.zeros((1, 4), np.float32), 1)
    for name in ("a", "unpublished"):
        with pytest.raises(SightlineError) as caught, registry.lease(pass_to(name)):
            raise AssertionError("there is nothing to lease")
        assert (caught.value.kind, caught.value.retry_after_s) == (ErrorKind.INDEX_UNAVAILABLE, 2.0)
    with registry.lease(pass_to("b")):
        registry.set_away("a", False)
    with registry.lease(pass_to("a")):
        await registry.close()


class Stuck(FakeSnapshot):
    """Its device does not free it."""

    async def close(self) -> None:
        raise RuntimeError("the device is gone")


async def test_a_revision_that_cannot_be_freed_is_logged_and_harms_nobody(caplog: pytest.LogCaptureFixture) -> None:
    registry = Registry(Seen())
    registry.publish(Stuck(revision="stuck"))
    with caplog.at_level(logging.ERROR):
        registry.publish(FakeSnapshot())
        await until(lambda: "revision stuck could not be freed" in caplog.text)
    with registry.lease(pass_to("default")) as held:
        assert held.revision == "rev-1"
    await registry.close()


async def test_closing_frees_also_what_is_still_leased() -> None:
    registry = Registry(Seen())
    first, second = FakeSnapshot(), FakeSnapshot(revision="rev-2")
    registry.publish(first)
    with registry.lease(pass_to("default")):
        registry.publish(second)
        await registry.close()
        assert first.closed
        assert second.closed


async def test_a_withdrawn_catalog_is_unknown_and_serves_its_leases() -> None:
    seen = Seen()
    registry = Registry(seen)
    snapshot = FakeSnapshot(revision="last")
    registry.publish(snapshot)
    with registry.lease(pass_to("default")):
        registry.withdraw("default")
        with pytest.raises(SightlineError), registry.lease(pass_to("default")):
            raise AssertionError("it is not served any more")
        assert not snapshot.closed
    await until(lambda: seen.events[-1] == ("freed", "last"))
    assert [name for name, _ in seen.events] == ["published", "replaced", "withdrawn", "freed"]
    registry.withdraw("default")
    await registry.close()


async def test_the_embedders_of_catalogs_that_a_pass_shows_are_told_by_name() -> None:
    registry = Registry(Seen())
    for name, embedder in (("a", "one@1"), ("b", "two@2"), ("c", "one@1"), ("d", "one@1")):
        registry.publish(FakeSnapshot(name, embedder=embedder))
    registry.set_away("d", True)
    granted = CatalogPass(SEAL, EVERY_CATALOG, Lane.INTERACTIVE, lambda name: name != "c")
    assert registry.embedders(granted) == {"a": "one@1", "b": "two@2"}
    assert registry.embedders(pass_to("a")) == {}, "a pass to one catalog shows none"
    await registry.close()
