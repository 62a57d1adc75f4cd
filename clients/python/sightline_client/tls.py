"""PEM files, read and checked before gRPC gets them: gRPC reports a wrong file only as a server that cannot be reached.

Rule: every error is a `ConfigurationError` that names the file.
"""

import os
import ssl
from pathlib import Path

import grpc

from sightline_client.errors import ConfigurationError


def credentials(root_ca: Path | None, client_cert: Path | None, client_key: Path | None) -> grpc.ChannelCredentials:
    """The channel's credentials. Raises `ConfigurationError`."""
    if (client_cert is None) != (client_key is None):
        raise ConfigurationError("a client certificate and its key go together: one of them is missing")
    roots, key, cert = _pem(root_ca), _pem(client_key), _pem(client_cert)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    if roots is not None:
        _check_roots(context, roots, root_ca)
    if client_cert is not None and client_key is not None:
        _check_pair(context, client_cert, client_key)
    return grpc.ssl_channel_credentials(roots, key, cert)


def _pem(path: Path | None) -> bytes | None:
    if path is None:
        return None
    try:
        return Path(path).read_bytes()
    except (OSError, ValueError) as error:  # ValueError: a null byte in the path
        reason = error.strerror if isinstance(error, OSError) else str(error)
        raise ConfigurationError(f"cannot read {path}: {reason}") from error
    except TypeError:
        raise ConfigurationError(f"a TLS file must be a path, not {type(path).__name__}") from None


def _check_roots(context: ssl.SSLContext, roots: bytes, path: Path | None) -> None:
    try:
        # The text around the certificates may be in any encoding.
        context.load_verify_locations(cadata=roots.decode("ascii", "ignore"))
    except (ssl.SSLError, ValueError) as error:
        raise ConfigurationError(f"{path} holds no CA certificate in PEM form") from error


def _check_pair(context: ssl.SSLContext, cert: Path, key: Path) -> None:
    try:
        # A key under a password would be asked for on the terminal; an empty one makes it an error.
        context.load_cert_chain(os.fspath(cert), os.fspath(key), password="")
    except (ssl.SSLError, OSError, ValueError) as error:
        raise ConfigurationError(f"{cert} and {key} are not a certificate and its unencrypted key") from error
