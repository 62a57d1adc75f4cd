"""The settings of callers' identities and of what they may do."""

from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from sightline_server.settings.part import Part

JwtAlgorithm = Literal[
    "EdDSA", "Ed25519", "ES256", "ES384", "ES512", "RS256", "RS384", "RS512", "PS256", "PS384", "PS512"
]


class AccessSettings(Part):
    """Callers, their credentials and their rights; see docs/operate/access.md. The files are read again on a change."""

    policy_file: Path | None = None
    """TOML file with the catalogs, methods, lanes and quota of each principal. If unset, callers are not identified."""
    keys_file: Path | None = None
    """File of API keys, which `sightline keys` writes. Its mode is 0600. Needs `policy_file`."""
    jwks_file: Path | None = None
    """JWKS file with the public keys of the issuer of bearer tokens (JWT). Needs `policy_file`, `jwt_issuer` and
    `jwt_audience`, and the extra `sightline[jwt]`."""
    jwt_issuer: str = ""
    """The `iss` claim that a token must have."""
    jwt_audience: str = ""
    """The `aud` claim that a token must have, alone or in a list."""
    jwt_algorithms: Annotated[tuple[JwtAlgorithm, ...], Field(min_length=1)] = ("EdDSA", "ES256", "RS256")
    """Algorithms that a token may be signed with, of `EdDSA`, `Ed25519`, `ES256`, `ES384`, `ES512`, `RS256`, `RS384`,
    `RS512`, `PS256`, `PS384`, `PS512`."""
    jwt_leeway_s: Annotated[int, Field(ge=0, le=300)] = 30
    """Seconds by which the clocks of the issuer and of this server may differ."""

    @model_validator(mode="after")
    def _complete(self) -> Self:
        for name in ("keys_file", "jwks_file"):
            if getattr(self, name) is not None and self.policy_file is None:
                raise ValueError(f"{name} needs policy_file, which says what each caller may do")
        if self.jwks_file is not None and not (self.jwt_issuer and self.jwt_audience):
            raise ValueError(
                "jwks_file needs jwt_issuer and jwt_audience: tokens for other servers must not count here"
            )
        return self
