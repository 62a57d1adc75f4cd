"""Every kind of revision has a value in the contract, and the client has one for each of them."""

from sightline.v1 import catalog_service_pb2
from sightline_client.catalog import convert
from sightline_client.catalog.revisions import RevisionKind as ClientKind
from sightline_server.domain.revisions import Revision, RevisionKind
from sightline_server.rpc.catalog.revisions import KINDS, to_revision


def test_every_kind_has_a_value_of_the_contract() -> None:
    assert set(KINDS) == set(RevisionKind)
    stated = set(catalog_service_pb2.RevisionKind.values()) - {catalog_service_pb2.REVISION_KIND_UNSPECIFIED}
    assert set(KINDS.values()) == stated == set(convert.KINDS)


def test_the_client_names_each_kind_as_the_server_does() -> None:
    for kind in RevisionKind:
        revision = Revision(3, 3, 0, "ab" * 32, 1, 1, 1, "2026-11-27T00:00:00+00:00", kind, adapter="cd" * 32)
        assert convert.KINDS[to_revision("shop", revision).kind] is ClientKind(kind.value)
