"""A backend refuses what it cannot do: in the library, and through the whole server before a photo is read."""

from typing import Any

import grpc
import pytest

from sightline_server.domain.catalogs import Capability
from sightline_server.domain.filters import Filter
from sightline_server.errors import ErrorKind, SightlineError
from tests.support.asking import PHOTO, asked, events_of
from tests.support.backend_shop import MANY, ids, many
from tests.support.backends import Backend, Reference
from tests.support.catalogs import unit_vectors
from tests.support.lens import FakeEngine, failed, serving
from tests.support.reference_snapshot import EVERYTHING, ReferenceSnapshot


async def test_what_a_backend_says_that_it_can_it_does_and_the_rest_it_refuses(backend: Backend) -> None:
    snapshot = backend.revision(MANY)
    assert backend.exact or Capability.EXACT not in snapshot.capabilities
    assert 0.95 <= snapshot.self_check_recall <= 1.0
    wanted = Filter(brands=("norrvik",))
    if Capability.FILTERS in snapshot.capabilities:
        assert (await snapshot.select(wanted)).applied_filter is not None
    else:
        assert await refused(snapshot.select(wanted)) is ErrorKind.FILTER_UNSUPPORTED
    if Capability.ITEM_GROUPS in snapshot.capabilities:
        [found] = await snapshot.nearest(unit_vectors(1), 3, [True])
        assert len({each.group for each in found}) == 3
    else:
        assert await refused(snapshot.nearest(unit_vectors(1), 3, [True])) is ErrorKind.GROUPS_UNSUPPORTED


async def refused(attempt: Any) -> ErrorKind:
    with pytest.raises(SightlineError) as caught:
        await attempt
    return caught.value.kind


async def test_a_backend_without_capabilities_refuses_instead_of_ignoring() -> None:
    snapshot = Reference(frozenset()).revision(many(9))
    assert await refused(snapshot.select(Filter(brands=("x",)))) is ErrorKind.FILTER_UNSUPPORTED
    assert await refused(snapshot.nearest(unit_vectors(2), 3, [False, True])) is ErrorKind.GROUPS_UNSUPPORTED
    [found] = await snapshot.nearest(unit_vectors(1), 3)
    assert len(ids(found)) == 3


@pytest.mark.parametrize(
    ("missing", "fields", "reason"),
    [
        (Capability.FILTERS, {"filter": {"brands": ["Norrvik"]}}, "FILTER_UNSUPPORTED"),
        (Capability.ITEM_GROUPS, {"one_per_group": True}, "GROUPS_UNSUPPORTED"),
    ],
)
async def test_the_server_refuses_before_it_reads_the_photo(
    missing: Capability, fields: dict[str, Any], reason: str
) -> None:
    index = served_snapshot(EVERYTHING - {missing})
    async with serving(index=index) as served:
        refusal = await failed(served.search(asked(**fields)))
        assert (refusal.code, refusal.reason) == (grpc.StatusCode.FAILED_PRECONDITION, reason)
        assert refusal.events == []
        broken = asked(**fields)
        broken.photo = PHOTO[: len(PHOTO) // 2]
        assert (await failed(served.search(broken))).reason == reason
        assert served.value("refusal_seconds_count", reason=reason) == 2
        events = await events_of(served.search(asked()))
        assert events[-1].HasField("done")


async def test_the_servers_default_of_groups_is_refused_too() -> None:
    async with serving(index=served_snapshot(frozenset()), ranking={"one_per_group": True}) as served:
        assert (await failed(served.search(asked()))).reason == "GROUPS_UNSUPPORTED"
        assert (await events_of(served.search(asked(one_per_group=False))))[-1].HasField("done")


def served_snapshot(capabilities: frozenset[Capability]) -> ReferenceSnapshot:
    """A catalog that the fake engine's embedder searches."""
    snapshot = ReferenceSnapshot(many(9, dimension=4), capabilities=capabilities, dimension=4)
    snapshot.name, snapshot.embedder = "default", FakeEngine().embedder.identity
    return snapshot
