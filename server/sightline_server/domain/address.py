"""Network addresses as users write them: HOST:PORT, unix:PATH and unix-abstract:NAME.

Rule: every address of a setting or an option is parsed here, once, before anything uses it; what gRPC or the socket
library would make of a malformed one (a port modulo 65536, port 443) never happens.
"""

import ipaddress
import os
import re
from dataclasses import dataclass
from typing import Self
from urllib.parse import quote

HIGHEST_PORT = 65535
LONGEST_SOCKET_PATH = 107
"""Bytes that the kernel takes for the path of a Unix socket."""
LONGEST_SHOWN = 120
LOCALHOST = "localhost"
UNSPECIFIED = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 (nothing listens on them here)
NAME = re.compile(r"[A-Za-z0-9_](?:[A-Za-z0-9_.-]{0,251}[A-Za-z0-9_.])?")
EXPECTED = "expected HOST:PORT, such as 127.0.0.1:50051"
GRPC_SCHEMES = ("grpc://", "dns:///", "dns:", "ipv4:", "ipv6:")
"""Prefixes that a target may have before HOST:PORT; gRPC resolves it the same way without one."""


@dataclass(frozen=True, slots=True)
class TcpAddress:
    """A host and a port; `str` gives HOST:PORT."""

    host: str
    """A name or an IP address, IPv6 without brackets."""
    port: int

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}"

    @property
    def is_loopback(self) -> bool:
        """True if only this machine reaches the address; see `is_loopback_host`."""
        return is_loopback_host(self.host)

    @property
    def resolved_host(self) -> str:
        """The host to look up: whatever a resolver makes of a name below localhost, it is this machine."""
        return LOCALHOST if is_below_localhost(self.host) else self.host

    @property
    def grpc_target(self) -> str:
        """The address as gRPC reads it."""
        return str(TcpAddress(self.resolved_host, self.port))

    def with_port(self, port: int) -> Self:
        """The same host with another port."""
        return type(self)(self.host, port)


@dataclass(frozen=True, slots=True)
class UnixAddress:
    """A Unix socket: an absolute path, or a name in the kernel's abstract namespace; only this machine reaches it."""

    path: str
    abstract: bool = False

    def __str__(self) -> str:
        return f"unix-abstract:{self.path}" if self.abstract else f"unix:{self.path}"

    @property
    def is_loopback(self) -> bool:
        """Always True."""
        return True

    @property
    def grpc_target(self) -> str:
        """The address as gRPC reads it, which takes it for a URI."""
        scheme, _, _ = str(self).partition(":")
        return f"{scheme}:{quote(self.path)}"


Address = TcpAddress | UnixAddress


def is_loopback_host(host: str) -> bool:
    """Returns whether `host`, a name or an IP address with or without brackets, is this machine and nothing else.

    Of names, these are `localhost` and those below it (RFC 6761, section 6.3). No other name is looked up: what it
    resolves to now says nothing about the connection that is made later.
    """
    if is_below_localhost(host) or host.rstrip(".").lower() == LOCALHOST:
        return True
    try:
        address = ipaddress.ip_address(host.strip("[]"))
    except ValueError:
        return False
    mapped = getattr(address, "ipv4_mapped", None)
    return bool((mapped or address).is_loopback)


def is_below_localhost(host: str) -> bool:
    """Returns whether `host` is a name such as `shop.localhost`."""
    return host.rstrip(".").lower().endswith(f".{LOCALHOST}")


def parse_listener(text: str) -> Address:
    """The address of a listener; port 0 takes a free one. Raises `ValueError` that says what is wrong."""
    try:
        return parse(text)
    except ValueError as error:
        raise ValueError(f"cannot listen on {masked_address(text)}: {error}") from None


def parse_tcp_listener(text: str) -> TcpAddress:
    """As `parse_listener`, for listeners that have no Unix socket. Raises `ValueError`."""
    address = parse_listener(text)
    if isinstance(address, UnixAddress):
        raise ValueError(f"cannot listen on {masked_address(text)}: only TCP is possible here; {EXPECTED}")
    return address


def parse_target(text: str) -> Address:
    """The address of a server to connect to. Raises `ValueError` that says what is wrong.

    0.0.0.0 and [::] become loopback addresses: that is what connecting to them reaches.
    """
    scheme = next((each for each in GRPC_SCHEMES if text.startswith(each)), "")
    try:
        address = parse(text.removeprefix(scheme))
        if isinstance(address, TcpAddress) and address.port == 0:
            raise ValueError("port 0 cannot be connected to")
    except ValueError as error:
        raise ValueError(f"cannot connect to {masked_address(text)}: {error}") from None
    if isinstance(address, TcpAddress) and address.host in UNSPECIFIED:
        return TcpAddress(UNSPECIFIED[address.host], address.port)
    return address


def parse_endpoint(text: str) -> str:
    """Checks the URL of a collector, http://HOST:PORT or https://HOST[:PORT]. Raises `ValueError`."""
    expected = "expected http://HOST:PORT or https://HOST:PORT"
    scheme, separator, rest = text.partition("://")
    try:
        if not separator or scheme not in ("http", "https"):
            raise ValueError(f"not a URL of HTTP; {expected}")
        if re.search(r"[/?#]", rest):
            raise ValueError(f"a path is not used; {expected}")
        # gRPC takes port 443 where none is given, which fits TLS only.
        has_port = re.fullmatch(r"\[[^\]]*\]|[^:]*", rest) is None
        parse_target(rest if has_port or scheme == "http" else f"{rest}:443")
    except ValueError as error:
        reason = str(error).rpartition(f"{masked_address(rest)}: ")[2]
        raise ValueError(f"cannot connect to {masked_address(text)}: {reason}") from None
    return text


def parse(text: str) -> Address:
    """An address of any kind. Raises `ValueError` with the reason alone."""
    if text.startswith("unix-abstract:"):
        return UnixAddress(checked_path(text.partition(":")[2], "name"), abstract=True)
    if text.startswith("unix:"):
        return unix_address(text.removeprefix("unix:"))
    return tcp_address(text)


def unix_address(path: str) -> UnixAddress:
    """The address of a socket file; `path` may begin with `//`, as in a URI. Raises `ValueError`."""
    if path.startswith("//"):
        path = path[2:]
        if not path.startswith("/"):
            raise ValueError("unix:// needs an absolute path, such as unix:///run/sightline.sock")
    if path.endswith("/"):
        raise ValueError("the path of a socket cannot end with a slash")
    return UnixAddress(checked_path(os.path.abspath(path) if path else "", "path"))


def checked_path(path: str, what: str) -> str:
    """`path` if it can name a socket. Raises `ValueError`."""
    if not path:
        raise ValueError(f"there is no {what} after the colon; expected unix:PATH")
    if "\0" in path:
        raise ValueError(f"the {what} holds a zero byte")
    if (size := len(os.fsencode(path))) > LONGEST_SOCKET_PATH:
        raise ValueError(f"the {what} has {size} bytes, a Unix socket takes at most {LONGEST_SOCKET_PATH}")
    return path


def tcp_address(text: str) -> TcpAddress:
    """HOST:PORT. Raises `ValueError`."""
    if not text:
        raise ValueError(f"it is empty; {EXPECTED}")
    if re.search(r"\s", text):
        raise ValueError(f"it holds a blank; {EXPECTED}")
    if "/" in text:
        raise ValueError(f"it is a URL or a path; {EXPECTED}, or unix:PATH")
    host, separator, port = text.rpartition(":")
    if text.endswith("]") or text == "::":
        host, separator, port = text, "", ""
    if not separator:
        raise ValueError(f"the {'host' if text.isdigit() else 'port'} is missing; {EXPECTED}")
    if not host:
        raise ValueError(f"the host is missing; {EXPECTED}, or 0.0.0.0:{port} for every interface")
    return TcpAddress(checked_host(host, port), checked_port(port))


def checked_host(host: str, port: str) -> str:
    """A name or an IP address without brackets. Raises `ValueError`."""
    if host.startswith("[") and host.endswith("]"):
        try:
            return str(ipaddress.IPv6Address(host[1:-1]))
        except ValueError:
            raise ValueError(f"{host} is not an IPv6 address") from None
    if ":" in host:
        raise ValueError(
            f"an IPv6 address needs brackets: [{host}]:{port}" if "::" in host else f"too many colons; {EXPECTED}"
        )
    if re.fullmatch(r"[0-9.]+", host):
        try:
            return str(ipaddress.IPv4Address(host))
        except ValueError:
            raise ValueError(f"{host} is not an IPv4 address") from None
    if not NAME.fullmatch(host) or ".." in host:
        raise ValueError(f"the host is neither a name nor an IP address; {EXPECTED}")
    return host


def checked_port(port: str) -> int:
    """The number of a port. Raises `ValueError`."""
    if not port:
        raise ValueError(f"the port is missing; {EXPECTED}")
    if not re.fullmatch(r"[0-9]+", port):
        raise ValueError(f"the port is not a number from 0 to {HIGHEST_PORT}")
    if len(port.lstrip("0")) > len(str(HIGHEST_PORT)) or int(port) > HIGHEST_PORT:
        raise ValueError(f"the port is out of range, 0 to {HIGHEST_PORT}")
    return int(port)


def masked_address(text: str) -> str:
    """An address as a message shows it: printable, of bounded length, without credentials."""
    printable = text if text.isprintable() else ascii(text)[1:-1]
    if "@" in printable:
        printable = f"***@{printable.rpartition('@')[2]}"
    if not printable:
        return "''"
    return printable if len(printable) <= LONGEST_SHOWN else f"{printable[:LONGEST_SHOWN]}..."
