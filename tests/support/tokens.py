"""Callers of a server with a policy: an issuer of tokens, API keys, and the policy of a shop."""

import json
import time
from pathlib import Path
from typing import Any

from joserfc import jws
from joserfc.jwk import ECKey, KeySet, OKPKey, RSAKey

from sightline_server.access.api_keys import StoredKeys, new_key
from sightline_server.access.key_file import change_keys

ISSUER, AUDIENCE = "https://login.shop.example", "sightline"
ALGORITHMS = ("EdDSA", "ES256", "RS256")
POLICY = """
[principals.app]
subjects = ["app@shop.example"]
certificates = ["dns:app.shop.example", "uri:spiffe://shop.example/app"]
catalogs = ["default"]
methods = ["search"]
lanes = ["interactive"]

[principals.importer]
catalogs = ["shop", "shop-*"]
methods = ["read", "write", "manage"]
"""
Signing = OKPKey | ECKey | RSAKey


class Issuer:
    """Issues tokens, and publishes its keys as a JWKS file."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.key: Signing = OKPKey.generate_key("Ed25519", {"kid": "one"})
        self.publish(self.key)

    def publish(self, *keys: Signing) -> None:
        """Writes the public part of `keys`."""
        self.path.write_text(json.dumps(KeySet(list(keys)).as_dict()))

    def token(
        self,
        *,
        key: Any = None,
        header: dict[str, Any] | None = None,
        without: tuple[str, ...] = (),
        **claims: Any,
    ) -> str:
        """A token for the app, with changes to its `header` and its `claims`, and `without` some of either."""
        now, key = int(time.time()), key or self.key
        whole = {"iss": ISSUER, "aud": AUDIENCE, "sub": "app@shop.example", "iat": now, "exp": now + 60, **claims}
        head = {"alg": "EdDSA", "typ": "JWT", "kid": key.kid, **(header or {})}
        for name in without:
            whole.pop(name, None)
            head.pop(name, None)
        return signed(head, json.dumps(whole).encode(), key)


def signed(header: dict[str, Any], payload: bytes, key: Any) -> str:
    """A compact JWS."""
    registry = Lenient(algorithms=list(jws.JWSRegistry.algorithms), strict_check_header=False)
    return jws.serialize_compact(header, payload, key, registry=registry)


class Lenient(jws.JWSRegistry):
    """Signs by any algorithm, without the library's warnings."""

    def get_alg(self, name: str) -> Any:
        return self.algorithms[name]


def add_key(path: Path, principal: str, *, expires: int | None = None, revoked: int | None = None) -> str:
    """Adds an API key to the file and returns it."""
    key, stored = new_key(principal, time.time(), expires, "")
    stored = stored.model_copy(update={"revoked": revoked})
    change_keys(path, lambda keys: StoredKeys(keys=[*keys.keys, stored]))
    return key


class Entrance:
    """The files of access of a server, and callers for it."""

    def __init__(self, folder: Path, policy: str = POLICY) -> None:
        self.policy, self.keys = folder / "policy.toml", folder / "keys.json"
        self.issuer = Issuer(folder / "jwks.json")
        self.policy.write_text(policy)
        self.app_key = add_key(self.keys, "app")

    @property
    def settings(self) -> dict[str, Any]:
        """The group `access` of the settings."""
        return {
            "policy_file": self.policy,
            "keys_file": self.keys,
            "jwks_file": self.issuer.path,
            "jwt_issuer": ISSUER,
            "jwt_audience": AUDIENCE,
        }


def bearer(credential: str) -> tuple[tuple[str, str], ...]:
    """The metadata of a call with `credential`."""
    return (("authorization", f"Bearer {credential}"),)
