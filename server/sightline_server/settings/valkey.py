"""The settings of a Valkey or Redis server in which replicas note used consent grants."""

from pathlib import Path
from typing import Annotated, Any, Self

from pydantic import BeforeValidator, Field, model_validator

from sightline_server.domain.valkey_url import ValkeyUrl, parse_valkey_url
from sightline_server.settings.addresses import parsed_by
from sightline_server.settings.part import Part


def checked(value: Any) -> Any:
    """The text of a URL that can be used. Raises what `parsed_by` raises."""
    if value is not None:
        parsed_by(parse_valkey_url)(value)
    return value


class ValkeySettings(Part):
    """The server of `consent.store = "valkey"`, for replicas; see docs/guide/consent.md. Needs `sightline[valkey]`."""

    url: Annotated[str | None, BeforeValidator(checked)] = None
    """`valkey://[USER@]HOST:PORT/DATABASE` (or `redis://`) without encryption, `rediss://` (or `valkeys://`) for TLS. A
    primary, not a cluster."""
    password_file: Path | None = None
    """File with the password in its first line, read again for each new connection."""
    ca_file: Path | None = None
    """PEM certificates of the authority (CA) that signed the server's certificate, in place of the system's."""
    insecure: bool = False
    """Allows a server on another machine without TLS: hashes of grants and the password are then sent unencrypted."""
    timeout_ms: Annotated[int, Field(ge=1, le=10_000)] = 50
    """Longest time that noting a use may take; then the grant is refused and the call may be sent again."""
    key_prefix: Annotated[str, Field(pattern=r"^[!-~]{0,64}$")] = "sightline:grant:"
    """Beginning of each key, before the hash of the grant's id."""

    @property
    def target(self) -> ValkeyUrl | None:
        """The parts of `url`."""
        return None if self.url is None else parse_valkey_url(self.url)

    @model_validator(mode="after")
    def _complete(self) -> Self:
        target = self.target
        if target is None and (self.password_file is not None or self.ca_file is not None):
            raise ValueError("password_file and ca_file need url, the server that they are for")
        if target is not None and target.user and self.password_file is None:
            raise ValueError("the user in url needs password_file")
        if target is not None and self.ca_file is not None and not target.tls:
            raise ValueError("ca_file needs TLS: write url with rediss:// or valkeys://")
        return self
