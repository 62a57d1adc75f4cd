"""The bound on the work for tokens that are not valid: what is verified, for whom, and what is remembered."""

from dataclasses import dataclass, field

import pytest

from sightline_server.access.failed_tokens import (
    ADDRESS_SETS,
    MOST_REMEMBERED,
    RETRY_S,
    TokenBudget,
    address_of,
)
from sightline_server.access.principal import Cause, UnidentifiedError, invalid
from sightline_server.access.quotas.buckets import WAYS
from sightline_server.errors import ErrorKind, SightlineError
from tests.support.clock import HandClock

PROXY, OTHER = "ipv4:10.0.0.1:4000", "ipv4:10.0.0.2:4000"


@dataclass
class GoodOnes:
    """Satisfies `Tokens` by a set of valid ones, and counts how often it verified."""

    valid: set[str] = field(default_factory=set)
    verified: int = 0

    def subject(self, token: str, now: float) -> str:
        self.verified += 1
        if token not in self.valid:
            raise invalid("the signature of the token is not valid")
        return f"subject of {token}"


class Bench:
    """A budget of 10 failures a second and 5 at once."""

    def __init__(self, *valid: str) -> None:
        self.tokens, self.clock = GoodOnes(set(valid)), HandClock()
        self.budget = TokenBudget(self.clock, per_s=10, at_once=5)

    def outcome(self, token: str, peer: str = PROXY) -> str:
        try:
            return self.budget.subject(self.tokens, token, 0.0, peer)
        except SightlineError as error:
            return error.metadata.get("limit") or error.metadata["cause"]

    def attack(self, calls: int, peer: str = PROXY) -> int:
        """The number of bad tokens that were verified."""
        before = self.tokens.verified
        for number in range(calls):
            self.outcome(f"bad-{number}", peer)
        return self.tokens.verified - before


def test_no_more_bad_tokens_of_an_address_are_verified_than_its_budget() -> None:
    bench = Bench()
    assert bench.attack(1000) == 6, "those at once, and the one that exceeds them"
    for _ in range(20):
        bench.clock.now += 0.5
        assert bench.attack(1000) == 5
    assert bench.attack(1000, OTHER) == 6, "an address does not use up the budget of another"


def test_a_refusal_is_no_judgement_of_the_token_and_says_when_to_try_again() -> None:
    bench = Bench("new")
    bench.attack(10)
    with pytest.raises(SightlineError) as caught:
        bench.budget.subject(bench.tokens, "new", 0.0, PROXY)
    error = caught.value
    assert not isinstance(error, UnidentifiedError), "a client must not throw a good token away"
    assert (error.kind, error.retry_after_s) == (ErrorKind.OVERLOADED, RETRY_S)
    assert error.metadata == {"limit": "failed_tokens", "subject": "address"}
    assert "new" not in error.message


def test_a_token_that_was_valid_is_verified_during_an_attack_from_the_same_address() -> None:
    bench = Bench("known", "new")
    assert bench.outcome("known") == "subject of known"
    for _ in range(50):
        bench.attack(20)
        assert bench.outcome("known") == "subject of known"
        assert bench.outcome("known", OTHER) == "subject of known"
        bench.clock.now += 0.01
    bench.attack(20)
    assert bench.outcome("new") == "failed_tokens"
    bench.clock.now += 0.2
    assert bench.outcome("new") == "subject of new"


def test_a_remembered_token_that_is_not_valid_any_more_has_no_exemption() -> None:
    bench = Bench("known")
    assert bench.outcome("known") == "subject of known"
    bench.tokens.valid.clear()
    bench.attack(10)
    before = bench.tokens.verified
    assert [bench.outcome("known") for _ in range(4)] == [Cause.INVALID.name, *["failed_tokens"] * 3]
    assert bench.tokens.verified == before + 1


def test_good_tokens_use_up_nothing() -> None:
    bench = Bench("known")
    assert {bench.outcome("known") for _ in range(100)} == {"subject of known"}
    assert bench.attack(10) == 6


def test_memory_is_bounded_whatever_comes() -> None:
    bench = Bench()
    bench.tokens.valid = {str(number) for number in range(MOST_REMEMBERED + 10)}
    for token in sorted(bench.tokens.valid):
        bench.outcome(token)
    assert len(bench.budget._remembered) == MOST_REMEMBERED
    for number in range(ADDRESS_SETS * WAYS * 2):
        bench.outcome("bad", f"ipv4:10.{number >> 8}.{number & 255}.1:1")


@pytest.mark.parametrize(
    ("peer", "address"),
    [
        ("ipv4:10.0.0.1:4000", "10.0.0.1"),
        ("ipv6:%5B2001:db8:1:2:3:4:5:6%5D:4000", "2001:db8:1:2::/64"),
        ("ipv6:[2001:db8:1:2:ffff::]:1", "2001:db8:1:2::/64"),
        ("ipv6:[::1]:1", "::/64"),
        ("ipv6:[::ffff:10.0.0.1]:4000", "10.0.0.1"),
        ("ipv6:%5Bfe80::1%25eth0%5D:4000", "fe80::/64"),
        ("ipv6:nonsense", ""),
        ("unix:/run/sightline.sock", "unix:/run/sightline.sock"),
        ("unix:", "unix:"),
        ("", ""),
    ],
)
def test_an_address_is_that_of_the_connection_without_its_port(peer: str, address: str) -> None:
    assert address_of(peer) == address
