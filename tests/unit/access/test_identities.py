"""The principal of a call: which credential decides, and certificates whose names are not clear."""

from collections.abc import Iterable

import pytest

from sightline_server.access.identities import Identities
from sightline_server.access.policy_file import parse_policy
from sightline_server.access.principal import ANONYMOUS, Cause, Presented, Principal, UnidentifiedError

RIGHTS = 'catalogs = ["*"]\nmethods = ["*"]\n'
POLICY = f"""
[principals.app]
certificates = ["dns:app.shop.example", "uri:spiffe://shop/app"]
{RIGHTS}
[principals.importer]
certificates = ["email:importer@shop.example"]
{RIGHTS}
"""
PUBLIC = f"{POLICY}[principals.anonymous]\n{RIGHTS}"


def presented(names: Iterable[str], *headers: tuple[str, str | bytes]) -> Presented:
    return Presented([("user-agent", "test"), *headers], lambda: frozenset(names))


def identify(policy: str, names: Iterable[str], *headers: tuple[str, str | bytes]) -> Principal:
    parsed = parse_policy(policy.encode())
    return Identities(lambda: parsed)(presented(names, *headers))


@pytest.mark.parametrize(
    ("names", "principal"),
    [
        (["dns:app.shop.example"], "app"),
        (["dns:APP.Shop.Example"], "app"),
        (["dns:other", "uri:spiffe://shop/app", "ip:10.0.0.1"], "app"),
        (["dns:app.shop.example", "uri:spiffe://shop/app"], "app"),
        (["email:importer@shop.example"], "importer"),
    ],
)
def test_a_name_of_the_certificate_gives_the_principal(names: list[str], principal: str) -> None:
    assert identify(POLICY, names) == Principal(principal)


@pytest.mark.parametrize(
    ("names", "cause"),
    [
        ([], Cause.MISSING),
        (["dns:other"], Cause.MISSING),
        (["dns:spiffe://shop/app"], Cause.MISSING),
        (["dns:uri:spiffe://shop/app"], Cause.MISSING),
        (["uri:SPIFFE://shop/app"], Cause.MISSING),
        (["email:app.shop.example"], Cause.MISSING),
        (["dns:app.shop.example", "email:importer@shop.example"], Cause.INVALID),
    ],
)
def test_a_certificate_that_is_nobody_or_two_principals_is_refused(names: list[str], cause: Cause) -> None:
    with pytest.raises(UnidentifiedError) as caught:
        identify(POLICY, names)
    assert caught.value.metadata["cause"] == cause.name


def test_a_caller_without_a_known_credential_is_anonymous_where_the_policy_says_so() -> None:
    assert identify(PUBLIC, []) == ANONYMOUS
    assert identify(PUBLIC, ["dns:other"]) == ANONYMOUS
    assert identify(PUBLIC, ["dns:app.shop.example"]) == Principal("app")


@pytest.mark.parametrize("value", ["Bearer x", "bearer x", "Bearer slk_x", "Basic x", "", b"Bearer x"])
def test_a_header_decides_before_the_certificate(value: str | bytes) -> None:
    with pytest.raises(UnidentifiedError) as caught:
        identify(PUBLIC, ["dns:app.shop.example"], ("Authorization", value))
    assert caught.value.metadata["cause"] == "INVALID"
