"""PEM files: read, and checked as a TLS library would use them.

Rule: what cannot be used is an error that names the file and the setting or option it came from. No content of a file
is part of a message.
"""

import ssl
from pathlib import Path

from sightline_server.errors import ErrorKind, SightlineError


def read(path: Path) -> bytes:
    """The file's bytes. Raises `SightlineError` of kind CONFIGURATION when it cannot be read."""
    try:
        return path.read_bytes()
    except (OSError, ValueError) as error:  # ValueError: a zero byte in the path
        reason = error.strerror if isinstance(error, OSError) else str(error)
        raise SightlineError(ErrorKind.CONFIGURATION, f"cannot read {path}: {reason}") from error


def check_pair(cert: Path, key: Path, cert_name: str, key_name: str) -> None:
    """Raises `SightlineError` unless `cert` is a certificate chain and `key` its key, without a password.

    The names are those of the settings or options that gave the paths.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    try:
        # A key under a password would be asked for on the terminal; an empty one makes it an error.
        context.load_cert_chain(cert, key, password="")
    except (OSError, ValueError) as error:
        raise SightlineError(
            ErrorKind.CONFIGURATION,
            f"{cert_name} {cert} and {key_name} {key} are not a certificate and its key{reason_of(error)}",
        ) from error


def check_authority(ca: Path, name: str) -> None:
    """Raises `SightlineError` unless `ca`, given as the setting or option `name`, holds certificates."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    try:
        context.load_verify_locations(ca)
    except (OSError, ValueError) as error:
        raise SightlineError(ErrorKind.CONFIGURATION, f"{name} {ca} holds no certificate{reason_of(error)}") from error


def reason_of(error: Exception) -> str:
    """OpenSSL's reason in brackets, such as ` (key values mismatch)`; empty where it gives none."""
    reason = getattr(error, "reason", None)
    return f" ({reason.replace('_', ' ').lower()})" if isinstance(reason, str) else ""
