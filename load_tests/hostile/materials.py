"""Credentials and grants that do not count, made once for a run, because a signature takes longer than a call.

Rule: what is signed is signed with the keys of the server under test where only another part is wrong, so that a
refusal is for that part.
"""

import base64
import json
from dataclasses import dataclass, field

from joserfc.jwk import OctKey, OKPKey

from load_tests.guarded.rights import Rights
from tests.support.grants import MARK, TYPE, ConsentService, hash_of
from tests.support.tokens import Issuer, bearer

KID = "one"
NO_IMAGE = MARK.encode() * 20
"""A photo that is not an image; grants for it get as far as decode."""
MEGABYTE = 1 << 20
PAST, FUTURE = 1_000_000_000, 2_000_000_000


@dataclass(frozen=True, slots=True)
class Materials:
    """Values of `authorization` and of `sightline-grant` by kind. `good` is a credential that may search."""

    good: str = field(repr=False)
    authorizations: dict[str, bytes] = field(repr=False)
    grants: dict[str, bytes] = field(repr=False)
    used: bytes = field(repr=False)
    """A grant for `NO_IMAGE` that all callers use."""


def materials(rights: Rights) -> Materials:
    """The materials of a run against a server with `rights`."""
    service = rights.consent
    return Materials(
        good=bearer(rights.keys["hostile"])[0][1],
        authorizations={**tokens(rights.entrance.issuer), **keys(rights)},
        grants=grants(service),
        used=service.grant(pht=hash_of(NO_IMAGE)).encode(),
    )


def tokens(issuer: Issuer) -> dict[str, bytes]:
    """Bearer tokens by their fault."""
    good = issuer.token(exp=FUTURE)
    head, claims, _ = good.split(".")
    unsigned = encoded_json({"alg": "none", "typ": "JWT", "kid": KID})
    digits = base64url(b'{"exp":' + b"9" * 1000 + b"}")
    public = OctKey.import_key(issuer.path.read_bytes())
    texts = {
        "alg none": f"{unsigned}.{claims}.",
        "no signature": f"{head}.{claims}.",
        "alg HS256 with the public key": issuer.token(key=public, header={"alg": "HS256", "kid": KID}),
        "wrong typ": issuer.token(header={"typ": TYPE}),
        "wrong aud": issuer.token(aud="another", exp=FUTURE),
        "wrong iss": issuer.token(iss=f"https://{MARK}.example", exp=FUTURE),
        "expired": issuer.token(exp=PAST),
        "not yet valid": issuer.token(nbf=FUTURE, exp=FUTURE),
        "unknown subject": issuer.token(sub=MARK, exp=FUTURE),
        "unknown kid": issuer.token(header={"kid": MARK}, exp=FUTURE),
        "another key": issuer.token(key=OKPKey.generate_key("Ed25519", {"kid": KID}), exp=FUTURE),
        "cut": good[:-10],
        "two parts": f"{head}.{claims}",
        "header of 8 kB": f"{encoded_json({'alg': 'EdDSA', 'kid': MARK * 1000})}.{claims}.AAAA",
        "claims nest": f"{head}.{base64url(b'[' * 5000)}.AAAA",
        "number of a thousand digits": f"{head}.{digits}.AAAA",
        "1 MB": MARK * (MEGABYTE // len(MARK)),
        "empty": "",
        "only dots": "." * 2000,
    }
    return {f"token: {name}": f"Bearer {text}".encode() for name, text in texts.items()}


def keys(rights: Rights) -> dict[str, bytes]:
    """API keys, and other forms of `authorization`, by their fault."""
    good = rights.keys["hostile"].encode()
    values = {
        "one letter changed": b"Bearer " + good[:-1] + (b"A" if good[-1:] != b"A" else b"B"),
        "longer": b"Bearer " + good + b"A",
        "cut": b"Bearer " + good[:-5],
        "revoked": b"Bearer " + rights.retired.encode(),
        "without the right": b"Bearer " + rights.keys["reader"].encode(),
        "another scheme": b"Basic " + base64.b64encode(MARK.encode() * 4),
        "no scheme": good,
        "not UTF-8": b"Bearer \xff\xfe" + MARK.encode(),
        "control characters": b"Bearer \x01\x7f" + MARK.encode(),
        "spaces": b"  Bearer   " + good + b"  ",
        "twice": b"Bearer " + good + b", Bearer " + good,
    }
    return {f"key: {name}": value for name, value in values.items()}


def grants(service: ConsentService) -> dict[str, bytes]:
    """Grants by their fault; all but `another photo` are for `NO_IMAGE`."""
    mine = hash_of(NO_IMAGE)
    good = service.grant(pht=mine)
    _, claims, signature = good.split(".")
    unsigned = encoded_json({"alg": "none", "typ": TYPE, "kid": KID})
    critical = encoded_json({"alg": "EdDSA", "typ": TYPE, "kid": KID, "crit": ["exp"], "exp": 1})
    texts = {
        "another photo": service.grant(exp=None),
        "expired": service.grant(pht=mine, iat=PAST, exp=PAST + 60),
        "too long a life": service.grant(pht=mine, exp=FUTURE),
        "another purpose": service.grant(pht=mine, purpose=MARK),
        "another audience": service.grant(pht=mine, aud="another"),
        "another catalog": service.grant(pht=mine, catalog="another"),
        "names a person": service.grant(pht=mine, sub=MARK),
        "a long id": service.grant(pht=mine, jti=MARK * 100),
        "a wrong hash": service.grant(pht=MARK),
        "times are texts": service.grant(pht=mine, exp="tomorrow"),
        "alg none": f"{unsigned}.{claims}.",
        "signature of another": f"{unsigned}.{claims}.{signature}",
        "another type": service.grant(pht=mine, header={"typ": "JWT"}),
        "another key": service.grant(pht=mine, key=OKPKey.generate_key("Ed25519", {"kid": KID})),
        "critical header": f"{critical}.{claims}.{signature}",
        "cut": good[:-7],
        "not a token": MARK * 30,
        "only dots": "." * 1000,
        "8 kB": MARK * 1365,
        "not ASCII": good + "\u00e9",
    }
    return {name: text.encode() for name, text in texts.items()}


def encoded_json(content: object) -> str:
    return base64url(json.dumps(content).encode())


def base64url(content: bytes) -> str:
    return base64.urlsafe_b64encode(content).rstrip(b"=").decode()
