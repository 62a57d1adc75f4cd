"""Signed texts: compact JWS that are checked with the public keys of a JWKS file.

    size -> form -> type -> algorithm -> key by its id -> signature -> claims
Rule: the algorithm is one of the settings' list and fits the key, never what a text asks for; none is symmetric, and
`none` is not one. A claim is believed only after the signature. What the library says about a text may hold parts of
it, so its text goes nowhere. Sources: RFC 7515, RFC 8725 (best current practices).
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from joserfc.errors import JoseError, UnsupportedAlgorithmError
from joserfc.jwk import ECKey, JWKRegistry, OKPKey, RSAKey
from joserfc.jws import CompactSignature, JWSRegistry, extract_compact, validate_compact

from sightline_server.errors import ErrorKind, SightlineError

LEAST_RSA_BITS = 2048
BITS_OF_A_CHARACTER = 6
PublicKey = RSAKey | ECKey | OKPKey


class UnverifiedError(Exception):
    """The error of a text whose signature does not count. Its message is for the audit and never sent to callers."""


class Registry(JWSRegistry):
    """The algorithms that are allowed. Unknown members of a header are ignored, unless they are critical."""

    max_header_length = 4096

    def __init__(self, algorithms: Sequence[str]) -> None:
        super().__init__(algorithms=algorithms, strict_check_header=False)

    def get_alg(self, name: str) -> Any:
        """The algorithm `name`. Raises `UnsupportedAlgorithmError`.

        Without the library's warning about `EdDSA`, which RFC 9864 renames and issuers still use.
        """
        if name not in (self.allowed or ()):
            raise UnsupportedAlgorithmError
        return self.algorithms[name]


@dataclass(frozen=True, slots=True)
class SignatureRules:
    """The algorithms of signatures, and the values of `typ` that a text may have, in lower case.

    Others are for another purpose (RFC 8725, 3.11). `usual_type` is the type of a text that has none.
    """

    algorithms: tuple[str, ...]
    types: tuple[str, ...]
    usual_type: str = ""


@dataclass(frozen=True, slots=True)
class SignatureKeys:
    """The public keys of a JWKS file, by their ids. A key without one is found only where it is the only key."""

    keys: Mapping[str, PublicKey]
    rules: SignatureRules
    registry: Registry = field(init=False, repr=False)

    def __post_init__(self) -> None:
        """Makes the registry of the rules' algorithms."""
        object.__setattr__(self, "registry", Registry(self.rules.algorithms))

    def claims(self, text: str) -> dict[str, Any]:
        """The claims of a `text` whose signature is valid. Raises `UnverifiedError`."""
        signed = self._extracted(text)
        header = signed.headers()
        self._check_header(header)
        key = self._key(header)
        try:
            genuine = validate_compact(signed, key, registry=self.registry)
        except Exception:  # the library raises many kinds for headers and keys that do not fit each other
            raise UnverifiedError("the token's header does not fit its key") from None
        if not genuine:
            raise UnverifiedError("the signature of the token is not valid")
        return claims_of(signed)

    def _extracted(self, text: str) -> CompactSignature:
        try:
            signed = extract_compact(text.encode("ascii"), registry=self.registry)
        except Exception:  # not only its own errors: a token may be nested as deeply as it is long
            raise UnverifiedError("the token is malformed") from None
        if not isinstance(signed.protected, dict):
            raise UnverifiedError("the token is malformed")
        return signed

    def _check_header(self, header: Mapping[str, Any]) -> None:
        if header.get("alg") not in self.rules.algorithms:
            raise UnverifiedError("the algorithm of the token is not allowed")
        kind = header.get("typ", self.rules.usual_type)
        if not isinstance(kind, str) or kind.lower() not in self.rules.types:
            raise UnverifiedError("the token is of another type")

    def _key(self, header: Mapping[str, Any]) -> PublicKey:
        key_id = header.get("kid")
        if key_id is None and len(self.keys) == 1:
            return next(iter(self.keys.values()))
        key = self.keys.get(key_id) if isinstance(key_id, str) else None
        if key is None:
            raise UnverifiedError("the token's key is not in the JWKS file")
        return key


def claims_of(signed: CompactSignature) -> dict[str, Any]:
    """The claims of a text whose signature is valid. Raises `UnverifiedError`."""
    try:
        claims = json.loads(signed.payload)
    except (ValueError, RecursionError):
        claims = None
    if not isinstance(claims, dict):
        raise UnverifiedError("the claims of the token are not a JSON object")
    return claims


def parse_keys(content: bytes, rules: SignatureRules) -> SignatureKeys:
    """The keys in a JWKS that can verify texts under `rules`; keys of other kinds and uses are left out.

    Raises `SightlineError` of kind CONFIGURATION, which holds no content of the file.
    """
    try:
        members = json.loads(content)["keys"]
    except (ValueError, RecursionError, KeyError, TypeError):
        raise unusable("it is not a JWKS, a JSON object with a list `keys`") from None
    if not isinstance(members, list):
        raise unusable("`keys` is not a list")
    keys: dict[str, PublicKey] = {}
    for number, member in enumerate(members, 1):
        key = public_key(member, number)
        if key is None or not usable(key, rules):
            continue
        key_id = str(member.get("kid", ""))
        if key_id in keys:
            raise unusable(f"key {number} has the `kid` of another key")
        keys[key_id] = key
    if not keys:
        raise unusable(f"it has no public key for {', '.join(rules.algorithms)}")
    if "" in keys and len(keys) > 1:
        raise unusable("a key has no `kid`, which it needs next to others")
    return SignatureKeys(keys, rules)


def public_key(member: Any, number: int) -> PublicKey | None:
    """The key of one member of a JWKS; None for a kind that is not for tokens (RFC 7517, section 5).

    Raises `SightlineError` for a key that cannot be read, and for a private or a short one.
    """
    if not isinstance(member, dict):
        raise unusable(f"key {number} is not a JSON object")
    if member.get("kty") not in ("RSA", "EC", "OKP") or member.get("use", "sig") != "sig":
        return None
    if "d" in member:
        raise unusable(f"key {number} is a private key; the server needs the public part alone")
    # Before the library sees it, because that warns about it on standard error.
    if member["kty"] == "RSA" and len(str(member.get("n", ""))) * BITS_OF_A_CHARACTER < LEAST_RSA_BITS:
        raise unusable(f"key {number} is too short; an RSA key needs {LEAST_RSA_BITS} bits")
    try:
        key = JWKRegistry.import_key(member)
        # Bytes that are not a key are found when it is first used, which is now.
        key.get_op_key("verify")
    except Exception:  # the library raises several kinds for keys that it cannot read
        raise unusable(f"key {number} cannot be read") from None
    if isinstance(key, RSAKey) and key.raw_value.key_size < LEAST_RSA_BITS:
        raise unusable(f"key {number} is too short; an RSA key needs {LEAST_RSA_BITS} bits")
    return key if isinstance(key, RSAKey | ECKey | OKPKey) else None


def usable(key: PublicKey, rules: SignatureRules) -> bool:
    """Returns whether texts of an allowed algorithm can be signed by `key`."""
    return any(fits(key, name) for name in rules.algorithms)


def fits(key: PublicKey, algorithm: str) -> bool:
    """Returns whether `key` is of the kind that `algorithm` needs."""
    try:
        JWSRegistry.algorithms[algorithm].check_key(key)
    except JoseError:
        return False
    return True


def unusable(reason: str) -> SightlineError:
    """The error of a JWKS that cannot be used."""
    return SightlineError(ErrorKind.CONFIGURATION, reason)
