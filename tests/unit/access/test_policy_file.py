"""The policy file: the rights that it gives, and errors that name the wrong key."""

import pytest

from sightline.v1 import catalog_service_pb2, catalog_transfer_service_pb2, lens_service_pb2
from sightline_server.access.methods import GROUPS, METHODS
from sightline_server.access.policy import Subject
from sightline_server.access.policy_file import FilePolicy, check_catalogs, parse_policy
from sightline_server.access.principal import Caller, Principal
from sightline_server.domain.request import Lane
from sightline_server.errors import ErrorKind, SightlineError
from sightline_server.rpc.catalog.operations_service import CANCEL, GET, LIST, WAIT

GOOD = """
[principals.app]
certificates = ["dns:App.Shop.example", "uri:spiffe://shop/app"]
subjects = ["app@shop.example"]
catalogs = ["shop", "outlet-*"]
methods = ["search", "GetCatalog"]
lanes = ["interactive"]

[principals.admin]
catalogs = ["*"]
methods = ["*"]
"""


def caller(name: str, method: str = "Search") -> Caller:
    return Caller(Principal(name), "sightline.v1.LensService", method, "r")


def allowed(policy: FilePolicy, name: str, catalog: str, lane: Lane = Lane.INTERACTIVE, method: str = "Search") -> bool:
    return policy.decide(caller(name, method), catalog, lane).allowed


def test_a_principal_has_the_catalogs_methods_and_lanes_of_its_table() -> None:
    policy = parse_policy(GOOD.encode())
    assert [name for name in ("shop", "shop@2", "outlet-1", "outlet-") if allowed(policy, "app", name)] == [
        *("shop", "shop@2", "outlet-1", "outlet-"),
    ]
    assert not any(
        allowed(policy, "app", name) for name in ("outlet", "Shop", "shop2", "", "*", "shop/", "secret@shop")
    )
    assert not allowed(policy, "app", "shop", Lane.BATCH)
    assert allowed(policy, "app", "shop", method="GetCatalog")
    assert not allowed(policy, "app", "shop", method="ListProducts")
    assert not allowed(policy, "nobody", "shop")
    assert all(allowed(policy, "admin", "any", lane, method) for lane in Lane for method in METHODS)
    assert policy.by_certificate_name == {"dns:app.shop.example": "app", "uri:spiffe://shop/app": "app"}
    assert policy.by_subject == {"app@shop.example": "app"}


@pytest.mark.parametrize(
    ("name", "method", "lane", "catalog", "subject"),
    [
        ("nobody", "Search", Lane.INTERACTIVE, "shop", Subject.METHOD),
        ("app", "DeleteCatalog", Lane.BATCH, "secret", Subject.METHOD),
        ("app", "Search", Lane.BATCH, "secret", Subject.LANE),
        ("app", "Search", Lane.INTERACTIVE, "secret", Subject.CATALOG),
    ],
)
def test_what_is_denied_does_not_depend_on_the_catalog_before_it_is_the_catalog(
    name: str, method: str, lane: Lane, catalog: str, subject: Subject
) -> None:
    decision = parse_policy(GOOD.encode()).decide(caller(name, method), catalog, lane)
    assert (decision.allowed, decision.subject) == (False, subject)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (('"search", "GetCatalog"', '"serach"'), "principals.app.methods.0: 'serach' is not a method"),
        (('["interactive"]', '["fast"]'), "principals.app.lanes.0: 'fast' is not a lane; expected one of interactive"),
        (('["interactive"]', "[]"), "principals.app.lanes: "),
        (("lanes =", "lane ="), "principals.app.lane: unknown name; expected one of catalogs, methods, lanes"),
        (("[principals.app]", "[principal.app]"), "principal: unknown name; expected one of principals"),
        (("[principals.app]", '[principals."a b"]'), "principals.a b: String should match pattern"),
        (('["shop", "outlet-*"]', '"shop"'), "principals.app.catalogs: Input should be a valid list"),
        (('"outlet-*"', '"*-outlet"'), "principals.app.catalogs.1: '*-outlet' is not a name of catalogs"),
        (('"shop"', '"shop/a"'), "principals.app.catalogs.0: 'shop/a' is not a name of catalogs"),
        (('"shop"', "7"), "principals.app.catalogs.0: Input should be a valid string"),
        (
            ('"uri:spiffe', '"spiffe'),
            "principals.app.certificates.1: 'spiffe://shop/app' is not a name in a certificate",
        ),
        (("[principals.admin]", "[principals.admin]\nsubjects = ['app@shop.example']"), "belongs to app already"),
        (
            ("[principals.admin]", "[principals.anonymous]\nsubjects = ['x']"),
            "principals.anonymous is for calls without",
        ),
        (('methods = ["*"]', ""), "principals.admin.methods: Field required"),
        (("[principals.app]", "[principals.app"), "it is not TOML"),
    ],
)
def test_a_wrong_policy_is_an_error_that_names_the_key(change: tuple[str, str], said: str) -> None:
    assert change[0] in GOOD
    with pytest.raises(SightlineError) as caught:
        parse_policy(GOOD.replace(*change).encode())
    assert caught.value.kind is ErrorKind.CONFIGURATION
    assert said in caught.value.message


@pytest.mark.parametrize("content", [b"", b"\xff\xfe", b"principals = 3", b"a = " + b"[" * 5000])
def test_a_file_that_is_not_a_policy_is_an_error(content: bytes) -> None:
    with pytest.raises(SightlineError) as caught:
        parse_policy(content)
    assert caught.value.kind is ErrorKind.CONFIGURATION


def test_a_catalog_that_the_server_does_not_have_is_an_error_unless_it_is_a_beginning() -> None:
    policy = parse_policy(GOOD.encode())
    check_catalogs(policy, ("shop", "other"))
    with pytest.raises(SightlineError, match=r"principals\.app\.catalogs: this server has no catalog 'shop'; it has x"):
        check_catalogs(policy, ("x",))


def test_every_method_of_every_service_is_in_one_group() -> None:
    services = (
        lens_service_pb2.DESCRIPTOR.services_by_name["LensService"],
        catalog_service_pb2.DESCRIPTOR.services_by_name["CatalogService"],
        catalog_transfer_service_pb2.DESCRIPTOR.services_by_name["CatalogTransferService"],
    )
    offered = [method.name for service in services for method in service.methods]
    offered += [method.name for method in (GET, LIST, CANCEL, WAIT)]
    assert sorted(name for group in GROUPS.values() for name in group) == sorted(offered)
