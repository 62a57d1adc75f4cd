"""The address of a server as users write it, checked and made ready for gRPC.

Rule: what gRPC would misread is refused (a port modulo 65536, port 443 where none is given), and so is a connection
without TLS to another machine, unless it is asked for. Names in a scheme of gRPC's own, such as `dns:///shop:50051`,
are passed on as they are.
"""

import ipaddress
import re
from urllib.parse import quote

from sightline_client import values
from sightline_client.errors import ConfigurationError

EXPECTED = "expected HOST:PORT, such as 127.0.0.1:50051, or unix:PATH"
UNIX = ("unix:", "unix-abstract:")
GRPC_SCHEME = re.compile(r"(dns|ipv4|ipv6|vsock|xds|google-c2p):(?![0-9]+$)")
BELOW_LOCALHOST = re.compile(r"((?:dns:(?:///)?|grpc://)?)([^/:,]+\.localhost\.?(:[0-9]+))$", re.IGNORECASE)
"""A target such as dns:///shop.localhost:50051: scheme, authority, port."""
PLAIN_SCHEME = "grpc://"
"""An optional prefix of HOST:PORT without a meaning; gRPC itself does not know it."""
HIGHEST_PORT = 65535


def grpc_target(target: object, *, tls: bool) -> str:
    """`target` as gRPC reads it. Raises `ConfigurationError` that says what is wrong.

    Without TLS a port is needed; with TLS it may be left out, and gRPC takes 443.
    """
    try:
        target = values.text(target)
    except ValueError as error:
        raise ConfigurationError(f"target {error}; {EXPECTED}") from None
    if scheme := next((each for each in UNIX if target.startswith(each)), ""):
        path = target.removeprefix(scheme)
        if not path.strip("/"):
            raise _wrong(target, "the path is missing")
        # gRPC takes it for a URI; here as at the server it is the path as it is.
        return scheme + quote(path)
    if not GRPC_SCHEME.match(target):
        target = target.removeprefix(PLAIN_SCHEME)
        _check_tcp(target, tls=tls)
    elif (port := re.search(r":([0-9]+)$", target)) is not None:
        _check_port(target, port[1])
    # Whatever a resolver makes of a name below localhost, it is this machine; with TLS the certificate decides.
    return target if tls else BELOW_LOCALHOST.sub(r"\1localhost\3", target)


def proxy_option(target: str) -> tuple[str, int]:
    """The channel argument that keeps proxies of the environment away from addresses of this machine."""
    return ("grpc.enable_http_proxy", int(not is_local(target)))


def is_local(target: str) -> bool:
    """Returns whether `target` can only mean this machine; of several addresses, each of them.

    No name is looked up: what it resolves to now says nothing about the connection that is made later.
    """
    if target.startswith(UNIX):
        return True
    place = target.removeprefix(PLAIN_SCHEME)
    scheme = re.match(r"(?:dns|ipv4|ipv6):(?://([^/]*)/)?", place)
    # A DNS server that the target names may give any address to any name.
    names_count = not (scheme and scheme[1])
    hosts = [_host(each) for each in place[scheme.end() if scheme else 0 :].split(",")]
    return all(_is_loopback(host, names_count=names_count) for host in hosts)


def check_plaintext(target: str, ways_out: str) -> None:
    """Raises `ConfigurationError`, with `ways_out`, where a connection without TLS would leave this machine."""
    if not is_local(target):
        raise ConfigurationError(
            f"the connection to {_shown(target)} would not be encrypted, so everyone on the way could read the images: "
            f"{ways_out}. Names other than localhost count as another machine"
        )


def authority_option(target: str) -> list[tuple[str, str]]:
    """The channel argument that keeps the host of a plaintext target that `grpc_target` replaces."""
    return [("grpc.default_authority", found[2])] if (found := BELOW_LOCALHOST.match(target)) else []


def _host(place: str) -> str:
    """The host of HOST, HOST:PORT or [IPv6]:PORT; an IPv6 address without brackets has no port."""
    if bracketed := re.match(r"\[([^\[\]]*)\](?::[0-9]+)?$", place):
        return bracketed[1]
    return place.partition(":")[0] if place.count(":") == 1 else place


def _is_loopback(host: str, *, names_count: bool) -> bool:
    name = host.rstrip(".").lower()
    if name == "localhost" or name.endswith(".localhost"):
        return names_count
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return False
    address = getattr(address, "ipv4_mapped", None) or address
    return address.is_loopback or address.is_unspecified


def _check_tcp(target: str, *, tls: bool) -> None:
    if re.search(r"\s", target) or not target.isprintable():
        raise _wrong(target, "it holds a blank or a control character")
    if "/" in target:
        raise _wrong(target, "it is a URL or a path")
    host, separator, port = ("", "", target) if target.isdigit() else target.rpartition(":")
    if target.endswith("]") or not (separator or target.isdigit()):
        host, port = target, "443" if tls else ""
    if not host:
        raise _wrong(target, "the host is missing")
    if ":" in host and not re.fullmatch(r"\[[^\[\]]*\]", host):
        raise _wrong(target, "an IPv6 address needs brackets, such as [::1]:50051")
    if not port:
        raise _wrong(target, "the port is missing")
    _check_port(target, port)


def _check_port(target: str, port: str) -> None:
    if not re.fullmatch(r"[0-9]+", port) or not 0 < int(port[-9:]) <= HIGHEST_PORT or len(port) > 9:
        raise _wrong(target, f"the port is not a number from 1 to {HIGHEST_PORT}")


def _wrong(target: str, reason: str) -> ConfigurationError:
    return ConfigurationError(f"cannot connect to {_shown(target)}: {reason}; {EXPECTED}")


def _shown(target: str) -> str:
    """A target as a message shows it: printable, of bounded length, without credentials."""
    text = target if target.isprintable() else ascii(target)[1:-1]
    shown = f"***@{text.rpartition('@')[2]}" if "@" in text else text
    return shown[:120] or repr("")
