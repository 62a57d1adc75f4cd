"""Bearer tokens: JWTs that identify a caller by their subject.

    signature -> issuer, audience, times -> subject
Rule: `signatures` says whose token it is; here its claims are checked. Sources: RFC 7519, RFC 8725.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from joserfc.errors import ExpiredTokenError, InvalidClaimError, JoseError
from joserfc.jwt import JWTClaimsRegistry

from sightline_server.access.principal import Cause, UnidentifiedError, invalid
from sightline_server.access.signatures import PublicKey, SignatureKeys, SignatureRules, UnverifiedError, parse_keys

TYPES = ("jwt", "at+jwt", "application/at+jwt")
NEVER = 1 << 53


@dataclass(frozen=True, slots=True)
class JwtRules:
    """The rules for tokens: their algorithms, issuer and audience, and seconds by which clocks may differ."""

    algorithms: tuple[str, ...]
    issuer: str
    audience: str
    leeway_s: int


@dataclass(frozen=True, slots=True)
class TokenKeys:
    """The public keys of the issuer of tokens, and the rules for their claims."""

    signatures: SignatureKeys
    rules: JwtRules

    @property
    def keys(self) -> Mapping[str, PublicKey]:
        """The keys by their ids."""
        return self.signatures.keys

    def subject(self, token: str, now: float) -> str:
        """The `sub` claim of a `token` that is valid at the Unix time `now`. Raises `UnidentifiedError`."""
        try:
            claims = self.signatures.claims(token)
        except UnverifiedError as error:
            raise invalid(str(error)) from None
        return self._subject(claims, now)

    def _subject(self, claims: dict[str, Any], now: float) -> str:
        expected = JWTClaimsRegistry(
            int(now),
            self.rules.leeway_s,
            iss={"essential": True, "value": self.rules.issuer},
            aud={"essential": True, "value": self.rules.audience},
            sub={"essential": True},
            exp={"essential": True},
        )
        not_before = claims.get("nbf")
        try:
            # The times last, so that a token for another server is not reported as expired.
            expected.validate({name: claims.get(name) for name in ("iss", "aud", "sub")} | {"exp": NEVER})
            expected.validate(claims)
        except ExpiredTokenError:
            raise UnidentifiedError(Cause.EXPIRED, "the token has expired") from None
        except InvalidClaimError as error:
            if error.claim == "nbf" and isinstance(not_before, int | float) and not isinstance(not_before, bool):
                raise UnidentifiedError(Cause.NOT_YET_VALID, "the token is not valid yet") from None
            raise invalid(f"claim {error.claim} of the token is not valid") from None
        except JoseError:
            raise invalid("the token lacks a claim: iss, aud, sub and exp are needed") from None
        return str(claims["sub"])


def parse_jwks(content: bytes, rules: JwtRules) -> TokenKeys:
    """The keys in `content` that can verify tokens under `rules`.

    Raises `SightlineError` of kind CONFIGURATION, which holds no content of the file.
    """
    return TokenKeys(parse_keys(content, SignatureRules(rules.algorithms, TYPES, TYPES[0])), rules)
