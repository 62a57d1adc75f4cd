"""The files of access, consent and audit of a server under test, and the credentials of its callers.

Rule: every file is in one folder, which the caller of this module removes; the keys exist for one run.
"""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from joserfc.jwk import OKPKey

from load_tests.generator.caller import Metadata
from tests.support.grants import ConsentService, GrantSigner, hash_of
from tests.support.grants import header as grant_header
from tests.support.tokens import Entrance, add_key, bearer

POLICY = """
[principals.app]
subjects = ["app@shop.example"]
catalogs = ["*"]
methods = ["search"]

[principals.hostile]
catalogs = ["*"]
methods = ["search", "embeddings"]
quota = { concurrent = 8 }

[principals.reader]
catalogs = ["*"]
methods = ["read"]
"""
"""The good caller, a hostile caller that may search and has a few slots, and one without the right to search."""


@dataclass(frozen=True, slots=True)
class Credentials:
    """An API key or a token, and the private key of the consent service, for a process that calls the server."""

    credential: str = field(repr=False)
    grant_key: dict[str, Any] = field(repr=False)

    @property
    def signer(self) -> GrantSigner:
        """Signs grants."""
        return GrantSigner(OKPKey.import_key(self.grant_key))

    def metadata(self, signer: GrantSigner, photo: bytes) -> Metadata:
        """The metadata of one call with `photo`."""
        return (*bearer(self.credential), *grant_header(signer.grant(pht=hash_of(photo))))


class Rights:
    """The files of a server in `folder`, with consent required for every search."""

    def __init__(self, folder: Path) -> None:
        self.entrance = Entrance(folder, POLICY)
        self.consent = ConsentService(folder)
        self.audit = folder / "audit"
        self.keys = {name: add_key(self.entrance.keys, name) for name in ("hostile", "reader")}
        self.retired = add_key(self.entrance.keys, "app", revoked=1)

    @property
    def variables(self) -> dict[str, str]:
        """The environment of the server."""
        groups = {
            "ACCESS": self.entrance.settings,
            "CONSENT": self.consent.settings("required"),
            "AUDIT": {"folder": self.audit},
        }
        return {
            f"SIGHTLINE_{group}__{name.upper()}": str(value)
            for group, settings in groups.items()
            for name, value in settings.items()
        }

    def app(self) -> Credentials:
        """The credentials of the good caller: a token, which costs the server more than an API key."""
        return self._with(self.entrance.issuer.token(exp=2_000_000_000))

    def hostile(self) -> Credentials:
        """Credentials with the right to search."""
        return self._with(self.keys["hostile"])

    def _with(self, credential: str) -> Credentials:
        key = self.consent.key
        assert isinstance(key, OKPKey)
        return Credentials(credential, dict(key.as_dict(private=True)))
