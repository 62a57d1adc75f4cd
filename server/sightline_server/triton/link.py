"""The connection to a remote Triton: unencrypted only on this machine or if a setting allows it, else by TLS or mTLS.

Rule: images never leave this machine without encryption unless `engine.triton_insecure` says so. Files are checked
before each connection, so that a renewed certificate is used by the next one.
"""

from dataclasses import dataclass
from pathlib import Path

from sightline_server.domain.address import Address
from sightline_server.errors import ErrorKind, SightlineError
from sightline_server.pem import check_authority, check_pair, read
from sightline_server.settings import EngineSettings

CA, CERT, KEY = "engine.triton_tls_ca", "engine.triton_tls_cert", "engine.triton_tls_key"


@dataclass(frozen=True, slots=True)
class TritonTls:
    """TLS to Triton by PEM files. Without `ca` the system's root certificates are used."""

    ca: Path | None = None
    cert: Path | None = None
    """Certificate chain to present to Triton; with `key` it makes TLS mutual."""
    key: Path | None = None
    server_name: str = ""
    """The name expected in Triton's certificate; empty for the host of its address."""

    def check(self) -> None:
        """Raises `SightlineError` of kind CONFIGURATION that names the file at fault. Blocks on the disk."""
        for path in filter(None, (self.ca, self.cert, self.key)):
            read(path)
        if self.ca is not None:
            check_authority(self.ca, CA)
        if self.cert is not None and self.key is not None:
            check_pair(self.cert, self.key, CERT, KEY)


@dataclass(frozen=True, slots=True)
class Link:
    """The address of a remote Triton, and the protection of the connection to it."""

    address: Address
    tls: TritonTls | None = None
    """None for an unencrypted connection."""
    insecure: bool = False
    """True if an unencrypted connection may leave this machine."""

    @property
    def protection(self) -> str:
        """The protection of the connection, human-readable."""
        if self.tls is None:
            return "on this machine" if self.address.is_loopback else "without encryption"
        return "TLS" if self.tls.cert is None else "mutual TLS"

    def check(self) -> None:
        """Raises `SightlineError` of kind CONFIGURATION where this connection must not be made. Blocks on the disk."""
        if self.tls is not None:
            self.tls.check()
        elif not self.insecure and not self.address.is_loopback:
            raise SightlineError(
                ErrorKind.CONFIGURATION,
                f"engine.triton_url {self.address}: images would go to another machine without encryption, readable "
                "by everyone on the way. For TLS set engine.triton_tls = true (--triton-tls), or "
                f"{CA} (--triton-tls-ca) to the certificate of Triton's authority. Where the network in between "
                "encrypts, set engine.triton_insecure = true (--triton-insecure). Names other than localhost count as "
                "another machine",
            )


def link_of(settings: EngineSettings) -> Link | None:
    """The link to the Triton of the settings, not yet checked; None for the embedded engine.

    Raises `SightlineError` of kind CONFIGURATION for TLS settings that do not fit together.
    """
    files = settings.triton_tls_ca, settings.triton_tls_cert, settings.triton_tls_key
    tls = settings.triton_tls or any(files) or bool(settings.triton_tls_name)
    if settings.triton_url is None:
        if tls:
            raise SightlineError(
                ErrorKind.CONFIGURATION, "the settings engine.triton_tls... need engine.triton_url (--triton-url)"
            )
        return None
    if (settings.triton_tls_cert is None) != (settings.triton_tls_key is None):
        raise SightlineError(ErrorKind.CONFIGURATION, f"{CERT} and {KEY} go together: one of them is not set")
    return Link(
        settings.triton_url,
        TritonTls(*files, server_name=settings.triton_tls_name) if tls else None,
        settings.triton_insecure,
    )
