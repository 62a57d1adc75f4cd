"""Quotas in the policy file: what a table means, and errors that name the wrong key."""

import pytest

from sightline_server.access.policy_file import FilePolicy, parse_policy
from sightline_server.access.quotas.quota import NO_QUOTA, Quota, Rate, Share
from sightline_server.access.quotas.tables import MOST_PRINCIPALS
from sightline_server.errors import ErrorKind, SightlineError

RIGHTS = 'catalogs = ["*"]\nmethods = ["*"]\n'
DEFAULT = "[default_quota]\ncalls_per_minute = 60\n"


def policy(quota: str = "", more: str = "") -> FilePolicy:
    return parse_policy(f"[principals.app]\n{RIGHTS}{quota}\n{more}".encode())


@pytest.mark.parametrize(
    ("text", "quota"),
    [
        ("", NO_QUOTA),
        ("quota = {}", NO_QUOTA),
        ("quota = { calls_per_minute = 600 }", Quota(calls=Rate(600, 600))),
        ("quota = { calls_per_minute = 600, calls_burst = 20 }", Quota(calls=Rate(600, 20))),
        ("quota = { bytes_per_minute = 1000, bytes_burst = 1 }", Quota(bytes=Rate(1000, 1))),
        ("quota = { concurrent = 16, share = 0.5 }", Quota(concurrent=16, share=0.5)),
        ("quota = { share = 1 }", Quota(share=1.0)),
        ("[principals.app.quota]\nconcurrent = 1", Quota(concurrent=1)),
    ],
)
def test_a_table_gives_the_bounds_that_it_names(text: str, quota: Quota) -> None:
    assert policy(text).quota_of("app") == quota
    assert policy(text).quota_of("nobody") is NO_QUOTA


def test_a_principal_without_a_quota_has_the_default_one_and_an_empty_table_is_no_bound() -> None:
    more = f"[principals.free]\n{RIGHTS}quota = {{}}\n[principals.own]\n{RIGHTS}quota = {{ concurrent = 2 }}\n{DEFAULT}"
    made = policy("", more)
    assert made.quota_of("app") == Quota(calls=Rate(60, 60))
    assert made.quota_of("free") is NO_QUOTA
    assert made.quota_of("own") == Quota(concurrent=2), "its own table replaces the default one as a whole"


@pytest.mark.parametrize("name", ["quota", "default_quota", "principals"])
def test_a_principal_may_have_the_name_of_a_table(name: str) -> None:
    made = parse_policy(f"[principals.{name}]\n{RIGHTS}quota = {{ concurrent = 2 }}\n".encode())
    assert made.quota_of(name) == Quota(concurrent=2)
    with pytest.raises(
        SightlineError, match=rf"principals\.{name}\.x: unknown name; expected one of catalogs, methods"
    ):
        parse_policy(f"[principals.{name}]\n{RIGHTS}x = 1\n".encode())


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("quota = { calls = 3 }", "principals.app.quota.calls: unknown name; expected one of calls_per_minute, calls_"),
        ("quota = 3", "principals.app.quota: "),
        ("quota = { calls_per_minute = 0 }", "principals.app.quota.calls_per_minute: "),
        ("quota = { calls_per_minute = -5 }", "principals.app.quota.calls_per_minute: "),
        ("quota = { calls_per_minute = 1.5 }", "principals.app.quota.calls_per_minute: "),
        ("quota = { calls_per_minute = true }", "principals.app.quota.calls_per_minute: "),
        ("quota = { calls_per_minute = '600' }", "principals.app.quota.calls_per_minute: "),
        ("quota = { calls_per_minute = 9223372036854775807 }", "principals.app.quota.calls_per_minute: "),
        ("quota = { calls_burst = 3 }", "principals.app.quota: calls_burst needs calls_per_minute"),
        (
            "quota = { bytes_burst = 3, calls_per_minute = 1 }",
            "principals.app.quota: bytes_burst needs bytes_per_minute",
        ),
        ("quota = { concurrent = 0 }", "principals.app.quota.concurrent: "),
        ("quota = { share = 0 }", "principals.app.quota.share: "),
        ("quota = { share = 1.01 }", "principals.app.quota.share: "),
        ("quota = { share = nan }", "principals.app.quota.share: "),
        ("quota = { share = inf }", "principals.app.quota.share: "),
        ('quota = { share = "50%" }', "principals.app.quota.share: "),
    ],
)
def test_a_wrong_quota_is_an_error_that_names_the_key(text: str, said: str) -> None:
    with pytest.raises(SightlineError) as caught:
        policy(text)
    assert caught.value.kind is ErrorKind.CONFIGURATION
    assert caught.value.message.startswith(said)


def test_a_wrong_default_quota_is_an_error_that_names_the_key() -> None:
    with pytest.raises(SightlineError, match=r"default_quota\.calls: unknown name; expected one of calls_per_minute"):
        policy("", "[default_quota]\ncalls = 3\n")
    with pytest.raises(SightlineError, match="default_quotas: unknown name; expected one of principals, default_quota"):
        policy("", "[default_quotas]\n")


def test_more_quotas_than_can_be_counted_are_an_error() -> None:
    many = "".join(f"[principals.p{number}]\n{RIGHTS}" for number in range(MOST_PRINCIPALS + 1))
    assert parse_policy(many.encode()).quotas == {}
    with pytest.raises(SightlineError, match=f"{MOST_PRINCIPALS + 1} principals have a quota; expected at most"):
        parse_policy((many + DEFAULT).encode())


@pytest.mark.parametrize(("part", "of", "slots"), [(0.5, 8, 4), (0.5, 1, 1), (0.01, 64, 1), (1.0, 7, 7), (0.99, 2, 1)])
def test_a_share_is_a_part_of_the_slots_and_at_least_one(part: float, of: int, slots: int) -> None:
    assert Share("app", part).slots(of) == slots
