"""Grant, purpose, no gallery sweep and defaults: what a catalog takes for a person's consent.

Rule: a grant that is sent is checked or refused. Whether it counts is seen from the reason of the refusal, so each bad
grant differs from a good one in one claim.
"""

import base64
import secrets
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

from sightline.v1 import lens_service_pb2 as pb
from sightline_client.errors import ConfigurationError
from sightline_client.grants import PURPOSE, GrantSigner, new_key, parts_hash, photo_hash, signed
from sightline_privacy.calls import Caller, Outcome, UnreachableError
from sightline_privacy.canary import Canary
from sightline_privacy.promises import Promise
from sightline_privacy.report import Result, broken, holds, judged, not_checked

LIFETIME_S = 60
NO_KEY = "give the private key of a consent service that the server trusts: --grant-key, --issuer, --audience"


class Mode(StrEnum):
    """The consent of a catalog, as its answers show it."""

    OFF = "off"
    OPTIONAL = "optional"
    REQUIRED = "required"
    IGNORED = "ignored"
    """A grant that nobody can have signed was accepted."""


@dataclass(frozen=True, slots=True)
class BadGrant:
    """A grant that must be refused with `reason`."""

    name: str
    reason: str
    make: Callable[[Mapping[str, Any]], Mapping[str, Any]]
    """The claims of a good grant -> those of this one."""


EXPIRED = BadGrant(
    "an expired grant", "GRANT_EXPIRED", lambda good: {**good, "iat": good["iat"] - 600, "exp": good["exp"] - 600}
)
OF_A_PERSON = BadGrant("a grant that names a person", "GRANT_INVALID", lambda good: {**good, "sub": "somebody"})
OTHER_PURPOSE = BadGrant(
    "a grant for another purpose", "GRANT_PURPOSE", lambda good: {**good, "purpose": "advertising"}
)
NO_PURPOSE = BadGrant(
    "a grant without a purpose",
    "GRANT_INVALID",
    lambda good: {name: value for name, value in good.items() if name != "purpose"},
)


@dataclass(frozen=True, slots=True)
class Asker:
    """Searches of the catalog under grants; `signer` is None where no key was given."""

    caller: Caller
    canary: Canary
    catalog: str
    signer: GrantSigner | None

    async def search(self, name: str, grant: str, photo: bytes | None = None) -> Outcome:
        """A search of a photo, else of the PNG."""
        request = pb.SearchRequest(photo=photo or self.canary.png, catalog=self.catalog)
        return await self.caller.search(name, request, grant=grant)

    def grant(self, sent: bytes | tuple[bytes, ...]) -> str:
        """A good grant for a photo or for crops; empty without a key."""
        return "" if self.signer is None else signed(self.claims(sent), self.signer.key)

    def claims(self, sent: bytes | tuple[bytes, ...]) -> dict[str, Any]:
        """The claims of a good grant for a photo or for crops. Only with a signer."""
        assert self.signer is not None
        now = int(time.time())
        return {
            "iss": self.signer.issuer,
            "aud": self.signer.audience,
            "iat": now,
            "exp": now + LIFETIME_S,
            "jti": base64.urlsafe_b64encode(secrets.token_bytes(16)).rstrip(b"=").decode(),
            "purpose": PURPOSE,
            "pht": photo_hash(sent) if isinstance(sent, bytes) else parts_hash(sent),
        }


async def mode_of(asker: Asker) -> Mode:
    """The consent of the catalog: a search without a grant, then one with a text that is not a grant.

    Raises `UnreachableError` where no search succeeds.
    """
    plain = await asker.search("a photo without a grant", "")
    if not plain.succeeded:
        if plain.reason == "GRANT_MISSING":
            return Mode.REQUIRED
        raise UnreachableError(f"no search succeeds, so nothing can be checked: {plain.code} {plain.reason}")
    invented = await asker.search("an invented grant", asker.canary.invented)
    if invented.succeeded:
        return Mode.IGNORED
    return Mode.OFF if invented.code == "UNIMPLEMENTED" else Mode.OPTIONAL


async def check(asker: Asker, mode: Mode) -> list[Result]:
    """The results of the promises grant and purpose."""
    if mode is Mode.IGNORED:
        ignored = ["an invented grant was accepted"]
        return [broken(Promise.GRANT, ignored), broken(Promise.PURPOSE, ignored)]
    if mode is Mode.OFF:
        why = "the catalog takes no grants (consent = off)"
        return [not_checked(Promise.GRANT, why), not_checked(Promise.PURPOSE, why)]
    if asker.signer is None:
        return [not_checked(Promise.GRANT, NO_KEY), not_checked(Promise.PURPOSE, NO_KEY)]
    return [await _grant(asker, mode), await _purpose(asker)]


async def _grant(asker: Asker, mode: Mode) -> Result:
    photo = asker.canary.png
    good = asker.grant(photo)
    findings = []
    first = await asker.search("a photo under a grant", good)
    if not first.succeeded:
        return not_checked(Promise.GRANT, f"a grant of the given key was refused: {first.code} {first.reason}")
    refusals = [
        (await asker.search("a photo under a used grant", good), "GRANT_REPLAYED", "a grant was accepted twice"),
        (
            await asker.search("another photo", asker.grant(photo), asker.canary.other),
            "GRANT_OTHER_PHOTO",
            "a grant for another photo was accepted",
        ),
        (
            await asker.search("a forged grant", _forged(asker)),
            "GRANT_INVALID",
            "a grant of an unknown key was accepted",
        ),
    ]
    for outcome, reason, finding in refusals:
        findings += _wrong(outcome, reason, finding)
    for bad in (EXPIRED, OF_A_PERSON):
        findings += await _accepted(asker, bad)
    if mode is Mode.REQUIRED:
        missing = await asker.search("a photo without a grant", "")
        findings += _wrong(missing, "GRANT_MISSING", "a search without a grant was accepted")
    return judged(Promise.GRANT, findings, f"consent is {mode.value}; a good grant works once and 5 bad ones do not")


async def _purpose(asker: Asker) -> Result:
    findings = [finding for bad in (OTHER_PURPOSE, NO_PURPOSE) for finding in await _accepted(asker, bad)]
    return judged(Promise.PURPOSE, findings, "grants for another purpose and without one are refused")


async def _accepted(asker: Asker, bad: BadGrant) -> list[str]:
    assert asker.signer is not None
    grant = signed(bad.make(asker.claims(asker.canary.png)), asker.signer.key)
    return _wrong(await asker.search(bad.name, grant), bad.reason, f"{bad.name} was accepted")


def _wrong(outcome: Outcome, reason: str, finding: str) -> list[str]:
    """The finding where a call was not refused, or for another reason."""
    if outcome.succeeded:
        return [finding]
    return [] if outcome.reason == reason else [f"{outcome.name}: refused with {outcome.reason}, expected {reason}"]


def _forged(asker: Asker) -> str:
    """A grant that is good in all but its key."""
    return signed(asker.claims(asker.canary.png), new_key())


async def no_sweep(asker: Asker, mode: Mode, grant: Result, quota: int) -> Result:
    """A caller cannot search photos that no person asked about, or only as many as a quota allows."""
    if quota:
        return await _quota(asker, quota)
    if mode is not Mode.REQUIRED:
        return not_checked(
            Promise.NO_SWEEP, "the catalog requires no grants; --quota N checks the caller's calls a minute"
        )
    if grant.verdict == "not checked":
        return not_checked(Promise.NO_SWEEP, NO_KEY)
    sweeping = ("twice", "another photo", "without a grant", "unknown key")
    findings = [each for each in grant.reasons if grant.verdict == "broken" and any(word in each for word in sweeping)]
    return judged(Promise.NO_SWEEP, findings, "each photo needs its own grant")


async def _quota(asker: Asker, quota: int) -> Result:
    # An empty photo is refused before anything is decoded, and counts as a call.
    for _ in range(quota + 1):
        outcome = await asker.caller.search("an empty photo", pb.SearchRequest(catalog=asker.catalog))
        if outcome.code == "RESOURCE_EXHAUSTED" and outcome.reason != "OVERLOADED":
            return holds(Promise.NO_SWEEP, f"more than {quota} calls in a row are refused: {outcome.reason}")
    return broken(Promise.NO_SWEEP, [f"{quota + 1} calls in a row were taken"])


def signer_of(key: Path | None, issuer: str, audience: str) -> GrantSigner | None:
    """The signer of the options; None without a key. Raises `ConfigurationError`."""
    if key is None:
        return None
    if not (issuer and audience):
        raise ConfigurationError("--grant-key needs --issuer and --audience, those of the server's settings")
    return GrantSigner.read(key, issuer=issuer, audience=audience)
