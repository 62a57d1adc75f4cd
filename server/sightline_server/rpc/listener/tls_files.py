"""The server's TLS files: read together, and checked as a TLS library would use them.

Rule: what cannot be used is an error that names the file. No content of a file is part of a message.
"""

from dataclasses import dataclass
from pathlib import Path

from sightline_server.errors import ErrorKind, SightlineError
from sightline_server.pem import check_authority, check_pair, read
from sightline_server.watched_files import identity_of

READS = 5
"""Attempts to read files that change while they are read."""

Contents = tuple[bytes, ...]
"""Certificate chain, key and, for mutual TLS, the clients' CA; all PEM."""


@dataclass(frozen=True, slots=True)
class TlsFiles:
    """The paths of certificate chain, key and, for mutual TLS, the clients' CA."""

    cert: Path
    key: Path
    client_ca: Path | None

    @property
    def paths(self) -> tuple[Path, ...]:
        """All of them, in the order of `Contents`."""
        return (self.cert, self.key) if self.client_ca is None else (self.cert, self.key, self.client_ca)


def load(files: TlsFiles) -> Contents:
    """Reads and checks the files, all of them of one moment. Raises `SightlineError`."""
    for _ in range(READS):
        before = identity_of(files.paths)
        failure: SightlineError | None = None
        try:
            contents = tuple(read(path) for path in files.paths)
            check_tls(files)
        except SightlineError as error:
            failure = error
        if identity_of(files.paths) == before:
            if failure is not None:
                raise failure
            return contents
    raise SightlineError(ErrorKind.CONFIGURATION, f"{named(files)} changed again and again while they were read")


def check_tls(files: TlsFiles) -> None:
    """Raises `SightlineError` when the files do not hold what they should; gRPC would only fail to listen."""
    check_pair(files.cert, files.key, "--tls-cert", "--tls-key")
    if files.client_ca is not None:
        check_authority(files.client_ca, "--tls-client-ca")


def named(files: TlsFiles) -> str:
    """The paths for a message."""
    return ", ".join(str(path) for path in files.paths)
