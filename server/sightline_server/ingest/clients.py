"""HTTP clients of a build: proxies, headers and limits of the connection.

Rule: nothing is opened before the first link needs it, so that a build of local images does not depend on a proxy. No
host is asked that `HostCheck` refuses. The operator's own headers go to the host that the feed names, never to one that
it redirects to.
"""

from dataclasses import dataclass
from http.cookiejar import CookieJar, DefaultCookiePolicy
from urllib.request import getproxies, proxy_bypass

import httpx

from sightline_server.domain.address import is_loopback_host
from sightline_server.errors import ErrorKind, SightlineError
from sightline_server.ingest.direct_transport import CheckedNetwork, DirectTransport
from sightline_server.ingest.host_check import HostCheck
from sightline_server.ingest.links import HOST_NAME

PROXY_SCHEMES = ("http", "https", "socks5", "socks5h")
USER_AGENT = "sightline-catalog"


@dataclass(frozen=True, slots=True)
class Requests:
    """The `user_agent` of all requests, and `headers` (name, value) for the feed's address and hosts of image links."""

    user_agent: str = USER_AGENT
    headers: tuple[tuple[str, str], ...] = ()


class Clients:
    """The clients of one build: one for each proxy of the environment, and one for hosts that are asked directly.

    Direct connections go through `network`. A `transport`, for tests, stands for all of them and for the proxies.
    """

    def __init__(
        self,
        requests: Requests,
        timeout_s: float,
        connect_timeout_s: float,
        transport: httpx.AsyncBaseTransport | None = None,
        network: CheckedNetwork | None = None,
    ) -> None:
        self._requests = requests
        self._timeout = httpx.Timeout(timeout_s, connect=connect_timeout_s)
        self._connect_timeout_s = connect_timeout_s
        self._transport = transport
        self._network = network or CheckedNetwork(HostCheck())
        self._clients: dict[str, httpx.AsyncClient] = {}

    def of(self, url: httpx.URL) -> httpx.AsyncClient:
        """The client for `url`. Raises `SightlineError` of kind CONFIGURATION when proxies or certificates are bad."""
        name, address = proxy_of(url)
        if name not in self._clients:
            self._clients[name] = self._open(name, address)
        return self._clients[name]

    @property
    def hosts(self) -> HostCheck:
        """The rule about hosts."""
        return self._network.hosts

    async def check(self, url: httpx.URL) -> None:
        """Raises `UnreachableImageError` where a proxy must not be asked for `url`.

        A direct connection is checked when it is made.
        """
        if self._transport is None and proxy_of(url)[0]:
            await self.hosts.check_for_proxy(url.raw_host.decode("ascii"), self._connect_timeout_s)

    def headers(self, start: httpx.URL, url: httpx.URL) -> dict[str, str]:
        """The operator's headers for a request to `url` that began at `start`: none once it left that origin."""
        return dict(self._requests.headers) if same_origin(start, url) else {}

    async def close(self) -> None:
        """Closes every connection."""
        for client in self._clients.values():
            await client.aclose()

    def _open(self, name: str, address: str) -> httpx.AsyncClient:
        """A client through the proxy at `address`, or without one where that is empty."""
        proxy = checked_proxy(name, address) if address else None
        try:
            return httpx.AsyncClient(
                follow_redirects=False,
                timeout=self._timeout,
                proxy=proxy if self._transport is None else None,
                # Our transport keeps the client from reading the proxy variables itself.
                transport=self._transport or (DirectTransport(self._network) if proxy is None else None),
                headers={
                    "accept": "image/*",
                    "accept-encoding": "identity",
                    "user-agent": self._requests.user_agent,
                },
                # What one server sets is not for the next request.
                cookies=CookieJar(DefaultCookiePolicy(allowed_domains=[])),
            )
        except OSError as error:
            message = "the certificates for https cannot be read; check SSL_CERT_FILE and SSL_CERT_DIR"
            raise SightlineError(ErrorKind.CONFIGURATION, message) from error
        except (ValueError, ImportError, httpx.InvalidURL) as error:
            raise SightlineError(ErrorKind.CONFIGURATION, proxy_message(name)) from error


def proxy_of(url: httpx.URL) -> tuple[str, str]:
    """The environment's proxy for `url`: the variable's name and its address, both empty where there is none.

    `no_proxy` lists names and their parents, `*` for all. A loopback host is never requested through a proxy.
    """
    proxies = getproxies()
    if is_loopback_host(url.host) or proxy_bypass(url.netloc.decode("ascii")):
        return "", ""
    for scheme in (url.scheme, "all"):
        if address := proxies.get(scheme, ""):
            return f"{scheme}_proxy", address
    return "", ""


def checked_proxy(name: str, address: str) -> httpx.URL:
    """The proxy at `address`. Raises `SightlineError` of kind CONFIGURATION, without the address, if malformed."""
    try:
        url = httpx.URL(address if "://" in address else f"http://{address}")
    except httpx.InvalidURL as error:
        raise SightlineError(ErrorKind.CONFIGURATION, proxy_message(name)) from error
    if url.scheme not in PROXY_SCHEMES or not HOST_NAME.fullmatch(url.host) or not 0 < (url.port or 1) < 65536:
        raise SightlineError(ErrorKind.CONFIGURATION, proxy_message(name))
    return url


def proxy_message(name: str) -> str:
    """The message about a malformed proxy. Its address is left out: it may hold a password."""
    kinds = ", ".join(f"{scheme}://" for scheme in PROXY_SCHEMES)
    return f"{name} is not a proxy that downloads can go through; expected HOST:PORT after one of {kinds}"


def same_origin(first: httpx.URL, second: httpx.URL) -> bool:
    """Returns whether a credential for `first` may go to `second`: same host, scheme and port, or http made https."""
    if first.host != second.host:
        return False
    if (first.scheme, second.scheme) == ("http", "https"):
        return (first.port or 80, second.port or 443) == (80, 443)
    default = 443 if first.scheme == "https" else 80
    return first.scheme == second.scheme and (first.port or default) == (second.port or default)
