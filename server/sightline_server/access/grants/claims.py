"""The claims of a grant: what a person allowed, and for how long. `docs/guide/consent.md` defines each.

Rule: a claim that is there has its form, whether it is needed or not. A grant never says who the person is: `sub` is
refused.
"""

import base64
import binascii
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from sightline_server.access.grants import refusals

SEARCH = "visual-search"
"""The purpose of a search for products in a photo."""
PHOTO_HASH = re.compile(r"[A-Za-z0-9_-]{43}")
"""32 bytes as base64url without padding."""
ID = re.compile(r"[!-~]{1,128}")
WORD = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:/+-]{0,63}")
LATEST = 1 << 53
"""Times above cannot be told apart as JSON numbers."""


@dataclass(frozen=True, slots=True)
class GrantRules:
    """The rules for grants: issuer, audience, seconds by which clocks may differ, and the longest life in seconds."""

    issuer: str
    audience: str
    leeway_s: int
    longest_s: int

    @property
    def kept_s(self) -> int:
        """Seconds after its use within which a grant could be valid again."""
        return self.longest_s + 2 * self.leeway_s + 1


@dataclass(frozen=True, slots=True)
class Grant:
    """A grant whose signature and claims are valid: `photo_hash` is a SHA-256, `expires` a Unix time in seconds.

    `catalog` is empty where it counts for every one. `act` says what the person did, `notice` is the version of the
    notice that was shown, and `rate` a pseudonym for limits; each may be empty.
    """

    id: str
    expires: float
    photo_hash: bytes = field(repr=False)
    catalog: str = ""
    act: str = ""
    notice: str = ""
    rate: str = field(default="", repr=False)


def grant_of(claims: Mapping[str, Any], rules: GrantRules, now: float) -> Grant:
    """The grant of signed `claims` at the Unix time `now`. Raises `GrantRefusedError`."""
    check_parties(claims, rules)
    expires = check_times(claims, rules, now)
    check_purpose(claims)
    return Grant(
        id=text(claims, "jti", ID),
        expires=expires,
        photo_hash=photo_hash(claims),
        catalog=word(claims, "catalog"),
        act=word(claims, "act"),
        notice=word(claims, "ntc"),
        rate=text(claims, "rate", ID) if "rate" in claims else "",
    )


def check_parties(claims: Mapping[str, Any], rules: GrantRules) -> None:
    """Checks who issued the grant and for which server, and that it names no person."""
    if claims.get("iss") != rules.issuer:
        raise refusals.invalid("claim iss of the grant is not valid")
    audience = claims.get("aud")
    if audience != rules.audience and not (isinstance(audience, list) and rules.audience in audience):
        raise refusals.invalid("claim aud of the grant is not valid")
    if "sub" in claims:
        raise refusals.invalid("the grant has a claim sub, which names a person")


def check_times(claims: Mapping[str, Any], rules: GrantRules, now: float) -> float:
    """Checks the times of a grant, and returns when it expires."""
    issued, expires = moment(claims, "iat"), moment(claims, "exp")
    begins = max(issued, moment(claims, "nbf") if "nbf" in claims else issued)
    if not 0 < expires - issued <= rules.longest_s:
        raise refusals.invalid(f"the grant is not valid for at most {rules.longest_s} s")
    if now >= expires + rules.leeway_s:
        raise refusals.expired()
    if now < begins - rules.leeway_s:
        raise refusals.not_yet_valid()
    return expires


def check_purpose(claims: Mapping[str, Any]) -> None:
    """Checks that the grant is for a search."""
    purpose = claims.get("purpose")
    if not isinstance(purpose, str):
        raise refusals.invalid("claim purpose of the grant is missing or not a text")
    if purpose != SEARCH:
        raise refusals.other_purpose()


def moment(claims: Mapping[str, Any], name: str) -> float:
    """A Unix time in seconds."""
    value = claims.get(name)
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise refusals.invalid(f"claim {name} of the grant is missing or not a number")
    if not 0 <= value < LATEST:
        raise refusals.invalid(f"claim {name} of the grant is not a time")
    return float(value)


def text(claims: Mapping[str, Any], name: str, form: re.Pattern[str]) -> str:
    """A text of this form."""
    value = claims.get(name)
    if not isinstance(value, str) or not form.fullmatch(value):
        raise refusals.invalid(f"claim {name} of the grant is missing or has another form")
    return value


def word(claims: Mapping[str, Any], name: str) -> str:
    """A short word; empty where the claim is not there."""
    return text(claims, name, WORD) if name in claims else ""


def photo_hash(claims: Mapping[str, Any]) -> bytes:
    """The SHA-256 of the photo."""
    encoded = text(claims, "pht", PHOTO_HASH)
    try:
        return base64.urlsafe_b64decode(encoded + "=")
    except (ValueError, binascii.Error):
        raise refusals.invalid("claim pht of the grant is not base64url") from None
