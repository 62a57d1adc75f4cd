"""Connections to a Valkey or Redis server, one command at a time on each; the only module that imports its client.

Rule: a connection whose command did not end with its answer is closed, never used again, so that no command reads the
answer of another. A connection that is being made goes on when its caller is cancelled, so that a slow handshake is
paid once and not by every caller.
"""

import asyncio
import ssl
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from valkey.asyncio import Connection, SSLConnection
from valkey.credentials import CredentialProvider
from valkey.exceptions import AuthenticationError, ResponseError
from valkey.exceptions import TimeoutError as ValkeyTimeoutError
from valkey.exceptions import ValkeyError as LibraryError

from sightline_server.access.grants.valkey_store import CONNECTION, REFUSED, TIMEOUT, ValkeyError
from sightline_server.domain.valkey_url import ValkeyUrl

CONNECT_S = 2.0
"""Longest time that a connection may take, its handshakes included."""
MOST_CONNECTING = 16
"""Connections that are made at once; while a server does not answer, callers must not pile up more."""


class FilePassword(CredentialProvider):
    """The user and the password of a connection; the file is read for each, so that a new password needs no restart."""

    def __init__(self, user: str, path: Path) -> None:
        self._user = user
        self._path = path

    def get_credentials(self) -> tuple[str] | tuple[str, str]:
        """See `CredentialProvider`. Raises `OSError`, and `ValueError` for a file that is not text."""
        password = self._path.read_text().partition("\n")[0].rstrip("\r")
        return (self._user, password) if self._user else (password,)


class ValkeyLinks:
    """Satisfies `Commands`. `connection` makes a connection that is not open yet. For one event loop."""

    def __init__(self, connection: Callable[[], Connection]) -> None:
        self._connection = connection
        self._idle: list[Connection] = []
        self._connecting: set[asyncio.Task[Connection]] = set()

    async def command(self, *parts: str) -> object:
        """See `Commands`."""
        try:
            link = await self._borrow()
            try:
                await link.send_command(*parts, check_health=False)
                answer: object = await link.read_response()
            except BaseException:
                await close(link)
                raise
        except (LibraryError, OSError, ValueError) as error:
            raise failure_of(error) from error
        self._give_back(link)
        return answer

    async def open(self) -> None:
        """Opens a connection, which waits for the first command. Raises `ValkeyError`."""
        try:
            self._give_back(await self._borrow())
        except (LibraryError, OSError, ValueError) as error:
            raise failure_of(error) from error

    async def close(self) -> None:
        """Closes what is open."""
        for task in self._connecting:
            task.cancel()
        await asyncio.gather(*self._connecting, return_exceptions=True)
        while self._idle:
            await close(self._idle.pop())

    async def _borrow(self) -> Connection:
        while self._idle:
            link, found = self._idle.pop(), False
            try:
                if found := await usable(link):
                    return link
            finally:
                if not found:
                    await close(link)
        if len(self._connecting) >= MOST_CONNECTING:
            raise ValkeyError(CONNECTION, "too many connections are being made")
        task = asyncio.create_task(self._connect(), name="valkey-connect")
        self._connecting.add(task)
        task.add_done_callback(self._connecting.discard)
        try:
            return await asyncio.shield(task)
        except asyncio.CancelledError:
            task.add_done_callback(self._keep)
            raise

    async def _connect(self) -> Connection:
        link = self._connection()
        try:
            async with asyncio.timeout(CONNECT_S):
                await link.connect()  # type: ignore[no-untyped-call]
        except BaseException:
            await close(link)
            raise
        return link

    def _keep(self, task: "asyncio.Task[Connection]") -> None:
        """Keeps the connection that was made for a caller who has gone."""
        if not task.cancelled() and task.exception() is None:
            self._give_back(task.result())

    def _give_back(self, link: Connection) -> None:
        self._idle.append(link)


async def usable(link: Connection) -> bool:
    """Returns whether an idle connection is open and has nothing to read, as a server that restarted leaves it."""
    try:
        return link.is_connected and not await link.can_read_destructive()  # type: ignore[no-untyped-call]
    except (LibraryError, OSError):
        return False


async def close(link: Connection) -> None:
    """Closes a connection at once."""
    with suppress(LibraryError, OSError):
        await link.disconnect(nowait=True)


def failure_of(error: Exception) -> ValkeyError:
    """The failure that an error of the client is. Its text may hold a key, so only the name of its class is kept."""
    cause = type(error).__name__
    if isinstance(error, TimeoutError | ValkeyTimeoutError):
        return ValkeyError(TIMEOUT, cause)
    if isinstance(error, AuthenticationError | ResponseError):
        return ValkeyError(REFUSED, cause)
    return ValkeyError(CONNECTION, cause)


def links_to(target: ValkeyUrl, password_file: Path | None, ca_file: Path | None) -> ValkeyLinks:
    """Connections to `target`. Raises `OSError` for a `ca_file` that cannot be used. Blocks on the disk."""
    password = FilePassword(target.user, password_file) if password_file is not None else None
    context = ssl.create_default_context(cafile=ca_file) if target.tls else None

    def connection() -> Connection:
        host, port = target.address.resolved_host, target.address.port
        # Without the client's name no further round trip, and no right but that to SET.
        link = (Connection if context is None else SSLConnection)(
            host=host,
            port=port,
            db=target.database,
            credential_provider=password,
            socket_timeout=None,
            socket_connect_timeout=CONNECT_S,
            lib_name=None,
            lib_version=None,
        )
        if context is not None and isinstance(link, SSLConnection):
            # Made once: reading the certificates for each connection would block the event loop.
            link.ssl_context.context = context
        return link

    return ValkeyLinks(connection)
