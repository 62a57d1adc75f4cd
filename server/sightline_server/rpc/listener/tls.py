"""TLS of the server: its files, checked before they are used and read again when they change.

    file changed -> read, checked -> offered to gRPC -> every handshake from then on
Rule: what is wrong at the start ends the start; what is wrong later is logged once and the files in use stay in use.
Connections that exist are never touched. gRPC asks before each handshake, from its own threads, so an unchanged file
costs one `stat` there and nothing is read.
"""

import asyncio
import logging
import time
from collections.abc import Callable
from functools import partial

import grpc

from sightline_server.errors import ErrorKind, SightlineError
from sightline_server.rpc.listener.tls_files import Contents, TlsFiles, load, named
from sightline_server.settings import ServerSettings
from sightline_server.watched_files import Watch

log = logging.getLogger(__name__)

CHECK_S = 5.0
"""Seconds between checks while no client connects, so that a broken certificate is reported before it is needed."""


class Certificates:
    """The TLS files in use. Every method may be called from any thread."""

    def __init__(
        self,
        files: TlsFiles,
        *,
        initial: Contents | None = None,
        on_check: Callable[[bool], object] = lambda usable: None,
        now: Callable[[], float] = time.time,
    ) -> None:
        """Reads the files, or begins with `initial`: what a parent found good, which also reports for its workers.

        `on_check` is called with whether the files can be used, each time that they have been read again. Raises
        `SightlineError` of kind CONFIGURATION when they are read here and cannot be used.
        """
        self._files = files
        self._on_check = on_check
        self._watch = Watch(files.paths, now)
        self._failure = ""
        self._quiet = initial is not None
        if initial is None:
            self._watch.changed()
        self._used = load(files) if initial is None else initial
        self._offered = self._used

    @property
    def used(self) -> Contents:
        """The certificate and key that new connections get."""
        return self._used

    def credentials(self) -> grpc.ServerCredentials:
        """Credentials of one port; they follow the files."""
        self._offered = self._used
        return grpc.dynamic_ssl_server_credentials(
            configuration(self._used),
            self._newer,  # type: ignore[arg-type]  # None means no change; the stubs do not know that
            require_client_authentication=self._files.client_ca is not None,
        )

    def check(self, *, force: bool = False) -> None:
        """Reads the files again when they have changed, or in any case with `force`. Blocks on the disk; never raises.

        Without `force` it returns at once while another thread checks.
        """
        self._watch.check(partial(self._reload, force=force), force=force)

    async def keep_checking(self) -> None:
        """Checks every `CHECK_S` seconds until it is cancelled."""
        while True:
            await asyncio.sleep(CHECK_S)
            await asyncio.to_thread(self.check)

    def _newer(self) -> grpc.ServerCertificateConfiguration | None:
        """For gRPC, before each handshake: the configuration from now on, or None for no change."""
        self.check()
        used = self._used
        if self._offered is used:
            return None
        self._offered = used
        return configuration(used)

    def _reload(self, *, force: bool) -> None:
        try:
            contents = load(self._files)
        except SightlineError as error:
            self._refuse(error.message, force=force)
            return
        if contents != self._used:
            self._used = contents
            self._report(logging.INFO, "TLS: new connections use the files as they are now: %s", named(self._files))
        elif force or self._failure:
            self._report(logging.INFO, "TLS: the files hold what is in use: %s", named(self._files))
        self._failure = ""
        self._on_check(True)

    def _refuse(self, message: str, *, force: bool) -> None:
        # A file that is being written fails several times in the same way; that is one fault.
        if message != self._failure or force:
            self._report(logging.ERROR, "TLS: new connections go on with the certificate in use: %s", message)
        self._failure = message
        self._on_check(False)

    def _report(self, level: int, text: str, what: str) -> None:
        log.log(logging.DEBUG if self._quiet else level, text, what)


def open_certificates(
    settings: ServerSettings,
    *,
    initial: Contents | None = None,
    on_check: Callable[[bool], object] = lambda usable: None,
) -> Certificates | None:
    """The certificates of the settings' files, mutual when there is a client CA; None without them.

    Raises `SightlineError` of kind CONFIGURATION.
    """
    if settings.tls_cert is None and settings.tls_key is None:
        if settings.tls_client_ca is not None:
            raise SightlineError(ErrorKind.CONFIGURATION, "--tls-client-ca needs --tls-cert and --tls-key")
        return None
    if settings.tls_cert is None or settings.tls_key is None:
        raise SightlineError(ErrorKind.CONFIGURATION, "--tls-cert and --tls-key go together")
    files = TlsFiles(settings.tls_cert, settings.tls_key, settings.tls_client_ca)
    return Certificates(files, initial=initial, on_check=on_check)


def configuration(contents: Contents) -> grpc.ServerCertificateConfiguration:
    """The contents as gRPC takes them."""
    cert, key, *client_ca = contents
    return grpc.ssl_server_certificate_configuration([(key, cert)], client_ca[0] if client_ca else None)
