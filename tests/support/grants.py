"""A consent service of a test: it signs grants, and publishes its keys as a JWKS file."""

import base64
import hashlib
import json
import secrets
import time
from pathlib import Path
from typing import Any

from joserfc.jwk import ECKey, KeySet, OKPKey

from tests.support.asking import PHOTO
from tests.support.tokens import signed

ISSUER, AUDIENCE = "https://consent.shop.example", "sightline"
TYPE = "sightline-grant+jwt"
MARK = "s3cr3t"
"""A part of texts that no error, log line or record may have."""


def hash_of(photo: bytes) -> str:
    """The claim `pht` of a photo."""
    return base64.urlsafe_b64encode(hashlib.sha256(photo).digest()).rstrip(b"=").decode()


class GrantSigner:
    """Signs grants for `PHOTO` with changes."""

    def __init__(self, key: OKPKey | ECKey) -> None:
        self.key = key

    def claims(self, **changes: Any) -> dict[str, Any]:
        """The claims of a good grant with `changes`; None takes a claim away."""
        now = int(time.time())
        whole = {
            "iss": ISSUER,
            "aud": AUDIENCE,
            "iat": now,
            "exp": now + 60,
            "jti": secrets.token_urlsafe(16),
            "purpose": "visual-search",
            "pht": hash_of(PHOTO),
            **changes,
        }
        return {name: value for name, value in whole.items() if value is not None}

    def grant(self, *, key: Any = None, header: dict[str, Any] | None = None, **changes: Any) -> str:
        """A grant; in `header`, None takes a member away."""
        key = key or self.key
        head = {"alg": "EdDSA", "typ": TYPE, "kid": key.kid, **(header or {})}
        head = {name: value for name, value in head.items() if value is not None}
        return signed(head, json.dumps(self.claims(**changes)).encode(), key)


class ConsentService(GrantSigner):
    """A signer whose keys are published in a folder."""

    def __init__(self, folder: Path) -> None:
        super().__init__(OKPKey.generate_key("Ed25519", {"kid": "one"}))
        self.path = folder / "grants.json"
        self.publish(self.key)

    def publish(self, *keys: OKPKey | ECKey) -> None:
        """Writes the public part of `keys`."""
        self.path.write_text(json.dumps(KeySet(list(keys)).as_dict()))

    def settings(self, mode: str = "required", **more: Any) -> dict[str, Any]:
        """The group `consent` of the settings."""
        return {"mode": mode, "jwks_file": self.path, "issuer": ISSUER, "audience": AUDIENCE, **more}


def header(grant: str) -> tuple[tuple[str, str], ...]:
    """The metadata of a call with `grant`."""
    return (("sightline-grant", grant),)
