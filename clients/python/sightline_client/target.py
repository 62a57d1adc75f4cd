"""The address of a server as users write it, checked and made ready for gRPC.

Rule: what gRPC would misread is refused (a port modulo 65536, port 443 where none is given); names in a scheme of
gRPC's own, such as `dns:///shop:50051`, are passed on as they are.
"""

import ipaddress
import re
from urllib.parse import quote

from sightline_client import values
from sightline_client.errors import ConfigurationError

EXPECTED = "expected HOST:PORT, such as 127.0.0.1:50051, or unix:PATH"
UNIX = ("unix:", "unix-abstract:")
GRPC_SCHEME = re.compile(r"(dns|ipv4|ipv6|vsock|xds|google-c2p):(?![0-9]+$)")
PLAIN_SCHEME = "grpc://"
"""May stand before HOST:PORT and says nothing; gRPC itself does not know it."""
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
    return target


def proxy_option(target: str) -> tuple[str, int]:
    """The channel argument that keeps proxies of the environment away from addresses of this machine."""
    return ("grpc.enable_http_proxy", int(not is_local(target)))


def is_local(target: str) -> bool:
    """Whether only this machine can be meant by `target`."""
    if target.startswith(UNIX):
        return True
    place = re.sub(r"^(?:grpc://|(?:dns|ipv4|ipv6):(?://[^/]*/)?)", "", target)
    host = re.sub(r":[0-9]+$", "", place).strip("[]")  # with TLS the port may be left out
    if host.rstrip(".").lower() == "localhost":
        return True
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return False
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
    text = target if target.isprintable() else ascii(target)[1:-1]
    shown = f"***@{text.rpartition('@')[2]}" if "@" in text else text
    return ConfigurationError(f"cannot connect to {shown[:120] or repr('')}: {reason}; {EXPECTED}")
