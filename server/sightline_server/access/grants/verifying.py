"""A grant's text -> its claims, checked with the public keys of the consent service.

Rule: only asymmetric algorithms, only the type of grants: a login token is not a grant, and a grant is not a login.
"""

from dataclasses import dataclass

from sightline_server.access.grants import refusals
from sightline_server.access.grants.claims import Grant, GrantRules, grant_of
from sightline_server.access.signatures import SignatureKeys, SignatureRules, UnverifiedError, parse_keys

SIGNATURES = SignatureRules(
    algorithms=("EdDSA", "Ed25519", "ES256"),
    types=("sightline-grant+jwt", "application/sightline-grant+jwt"),
)
MOST_CHARACTERS = 4096
"""Longest text that is checked; a grant with every claim takes about 700 characters."""


@dataclass(frozen=True, slots=True)
class GrantKeys:
    """The public keys of the consent service, and the rules for the claims of its grants."""

    signatures: SignatureKeys
    rules: GrantRules

    def grant(self, text: str, now: float) -> Grant:
        """The grant in `text`, which is valid at the Unix time `now`. Raises `GrantRefusedError`."""
        if len(text) > MOST_CHARACTERS:
            raise refusals.invalid("the grant is too long")
        try:
            claims = self.signatures.claims(text)
        except UnverifiedError as error:
            raise refusals.invalid(str(error)) from None
        return grant_of(claims, self.rules, now)


def parse_grant_keys(content: bytes, rules: GrantRules) -> GrantKeys:
    """The keys in `content`, a JWKS. Raises `SightlineError` of kind CONFIGURATION, without content of the file."""
    return GrantKeys(parse_keys(content, SIGNATURES), rules)
