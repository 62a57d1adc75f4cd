"""Consent grants: signed statements that a person started one search. `docs/guide/consent.md` defines them.

    signer = GrantSigner.read(Path("consent-key.json"), issuer="https://consent.shop.example", audience="sightline")
    grant = signer.grant(photo, catalog="shop", act="tap", notice="2026-11")
    client.search(photo, catalog="shop", grant=grant)
Rule: the consent service signs, when the person has acted, and nobody else has its key. A program that searches only
passes a grant on. Signing needs the extra `sightline[jwt]`.
"""

import base64
import hashlib
import json
import os
import secrets
import stat
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypedDict, Unpack

from sightline_client import values
from sightline_client.errors import ConfigurationError
from sightline_client.options import MAX_BYTES
from sightline_client.photo import Photo, encoded, encoded_crops
from sightline_client.vectors import Vector, vectors_bytes

if TYPE_CHECKING:
    from joserfc.jwk import ECKey, OKPKey

    Key = OKPKey | ECKey

TYPE = "sightline-grant+jwt"
"""The `typ` of a grant's header."""
PURPOSE = "visual-search"
"""The `purpose` of a grant for a search."""
LONGEST_S = 120
ALGORITHMS: Mapping[str, tuple[str, str]] = {"EdDSA": ("OKP", "Ed25519"), "ES256": ("EC", "P-256")}
"""Algorithm -> type and curve of its keys."""
ID_BYTES = 16
LENGTH_BYTES = 8


def photo_hash(photo: object) -> str:
    """The claim `pht` of a photo: the SHA-256 of exactly the bytes that are sent, as base64url without padding.

    Raises `InvalidRequestError` for what is not encoded bytes.
    """
    return _encoded_hash(hashlib.sha256(encoded(photo, MAX_BYTES)).digest())


def parts_hash(parts: Iterable[bytes]) -> str:
    """The claim `pht` of several parts in their order: the SHA-256 of each part's length and its bytes.

    A length is 8 bytes, big-endian. A part is a crop's bytes, or a vector as it is sent.
    """
    digest = hashlib.sha256()
    for part in parts:
        digest.update(len(part).to_bytes(LENGTH_BYTES, "big"))
        digest.update(part)
    return _encoded_hash(digest.digest())


def crops_hash(crops: Iterable[Photo]) -> str:
    """The claim `pht` of a search of crops. Raises `InvalidRequestError` for what is not encoded bytes."""
    return parts_hash(encoded_crops(crops, MAX_BYTES))


def embeddings_hash(embeddings: Iterable[Vector]) -> str:
    """The claim `pht` of a search of embeddings. Raises `InvalidRequestError` for what is not embeddings."""
    return parts_hash(vectors_bytes(embeddings))


def _encoded_hash(digest: bytes) -> str:
    return base64.urlsafe_b64encode(digest).rstrip(b"=").decode()


class GrantTerms(TypedDict, total=False):
    """The terms of a grant; each may be left out."""

    catalog: str
    """The catalog that may be searched; empty for any."""
    act: str
    """The act of the person, such as `tap`."""
    notice: str
    """The version of the notice that was shown."""
    rate: str
    """A pseudonym for limits."""
    lifetime_s: int
    """Seconds for which it is valid, 60 if left out."""
    now: float | None
    """The Unix time from which it is valid."""


@dataclass(frozen=True, slots=True)
class GrantSigner:
    """Signs grants with the private key of a consent service, for one server by its `audience`."""

    key: "Key" = field(repr=False)
    issuer: str
    audience: str

    @classmethod
    def read(cls, path: Path, *, issuer: str, audience: str) -> "GrantSigner":
        """The signer with the private key in a file, a JWK that `sightline grant keygen` has made.

        Raises `ConfigurationError` that names the file, also where other users can read it.
        """
        return cls(read_key(path), issuer, audience)

    def grant(self, photo: object, **terms: Unpack[GrantTerms]) -> str:
        """A grant for one search of `photo`, an image file's bytes.

        Raises `ValueError` for a lifetime out of range, and `InvalidRequestError` for a photo that is not encoded
        bytes.
        """
        return self._grant(photo_hash(photo), **terms)

    def grant_crops(self, crops: Iterable[Photo], **terms: Unpack[GrantTerms]) -> str:
        """A grant for one search of `crops`, encoded images, in this order.

        Raises `ValueError` for a lifetime out of range, and `InvalidRequestError` for what is not encoded bytes.
        """
        return self._grant(crops_hash(crops), **terms)

    def grant_embeddings(self, embeddings: Iterable[Vector], **terms: Unpack[GrantTerms]) -> str:
        """A grant for one search of `embeddings` in this order.

        Raises `ValueError` for a lifetime out of range, and `InvalidRequestError` for what is not embeddings.
        """
        return self._grant(embeddings_hash(embeddings), **terms)

    def _grant(
        self,
        content: str,
        *,
        catalog: str = "",
        act: str = "",
        notice: str = "",
        rate: str = "",
        lifetime_s: int = 60,
        now: float | None = None,
    ) -> str:
        values.integer(lifetime_s, 1, LONGEST_S)
        begun = int(time.time() if now is None else now)
        claims: dict[str, Any] = {
            "iss": self.issuer,
            "aud": self.audience,
            "iat": begun,
            "exp": begun + lifetime_s,
            "jti": base64.urlsafe_b64encode(secrets.token_bytes(ID_BYTES)).rstrip(b"=").decode(),
            "purpose": PURPOSE,
            "pht": content,
        }
        optional = {"catalog": catalog, "act": act, "ntc": notice, "rate": rate}
        return signed(claims | {name: value for name, value in optional.items() if value}, self.key)


def signed(claims: Mapping[str, Any], key: "Key") -> str:
    """A compact JWS of `claims` with the header of a grant."""
    jws = _joserfc("jws")
    header = {"alg": algorithm_of(key), "typ": TYPE} | ({"kid": key.kid} if key.kid else {})
    payload = json.dumps(claims, separators=(",", ":")).encode()

    class Registry(jws.JWSRegistry):  # type: ignore[misc, name-defined]
        """Signs by `EdDSA` without the library's warning that RFC 9864 renames it; verifiers know the old name."""

        def get_alg(self, name: str) -> Any:
            return self.algorithms[name]

    return str(jws.serialize_compact(header, payload, key, registry=Registry(algorithms=[header["alg"]])))


def algorithm_of(key: "Key") -> str:
    """The algorithm of the key. Raises `ConfigurationError` for a key that cannot sign grants."""
    facts = key.as_dict(private=False)
    for name, (kind, curve) in ALGORITHMS.items():
        if (facts.get("kty"), facts.get("crv")) == (kind, curve):
            return name
    raise ConfigurationError("the key cannot sign grants: expected Ed25519 or P-256")


def new_key(algorithm: str = "EdDSA") -> "Key":
    """A new private key for `algorithm`, with a random id. Raises `ConfigurationError` for an unknown algorithm."""
    if algorithm not in ALGORITHMS:
        raise ConfigurationError(f"{algorithm!r} is not an algorithm of grants; there are {', '.join(ALGORITHMS)}")
    jwk = _joserfc("jwk")
    kind, curve = ALGORITHMS[algorithm]
    parameters = {"kid": secrets.token_hex(8), "use": "sig", "alg": algorithm}
    key: Key = (jwk.OKPKey if kind == "OKP" else jwk.ECKey).generate_key(curve, parameters)
    return key


def write_key(path: Path, key: "Key") -> None:
    """Writes a private key to a new file of mode 0600. Raises `ConfigurationError` where the file exists."""
    content = json.dumps(key.as_dict(private=True)).encode() + b"\n"
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
    except OSError as error:
        raise ConfigurationError(f"cannot write {path}: {error.strerror}") from error


def read_key(path: Path) -> "Key":
    """The private key in a file. Raises `ConfigurationError`, which holds nothing of it."""
    try:
        mode = stat.S_IMODE(path.stat().st_mode)
        content = path.read_bytes()
    except OSError as error:
        raise ConfigurationError(f"cannot read {path}: {error.strerror}") from error
    if mode & 0o077:
        raise ConfigurationError(f"{path} has mode {mode:04o}, but a private key is for its owner: chmod 600 {path}")
    jwk = _joserfc("jwk")
    try:
        key = jwk.JWKRegistry.import_key(json.loads(content))
        private = bool(key.is_private)
    except Exception:  # the library raises several kinds for keys that it cannot read
        raise ConfigurationError(f"{path} holds no key: expected a private JWK of `sightline grant keygen`") from None
    if not private:
        raise ConfigurationError(f"{path} holds a public key, which cannot sign")
    algorithm_of(key)
    found: Key = key
    return found


def public_keys(*keys: "Key") -> str:
    """The JWKS that the server reads: the public part of each key, as JSON."""
    return json.dumps({"keys": [key.as_dict(private=False) for key in keys]}, indent=2)


def _joserfc(module: str) -> Any:
    try:
        if module == "jwk":
            from joserfc import jwk

            return jwk
        from joserfc import jws
    except ImportError as error:
        raise ConfigurationError('signing grants needs joserfc: pip install "sightline[jwt]"') from error
    return jws
