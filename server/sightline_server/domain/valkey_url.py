"""The URL of a Valkey or Redis server as users write it: valkey://[USER@]HOST[:PORT][/NUMBER], or rediss:// for TLS.

Rule: what cannot be used is refused with the reason, and a password is never part of an address: files hold secrets.
"""

import re
from dataclasses import dataclass
from urllib.parse import unquote

from sightline_server.domain.address import TcpAddress, masked_address, parse_target

PLAIN, ENCRYPTED = ("valkey", "redis"), ("valkeys", "rediss")
USUAL_PORT = 6379
EXPECTED = "expected valkey://HOST:PORT, or rediss://HOST:PORT for TLS"


@dataclass(frozen=True, slots=True)
class ValkeyUrl:
    """A server, whether it is reached by TLS, the user's name or "", and the number of the database."""

    address: TcpAddress
    tls: bool
    user: str = ""
    database: int = 0


def parse_valkey_url(text: str) -> ValkeyUrl:
    """The parts of a URL. Raises `ValueError` that says what is wrong, without a password that is in it."""
    scheme, separator, rest = text.partition("://")
    try:
        if not separator or scheme not in (*PLAIN, *ENCRYPTED):
            raise ValueError(f"not a URL of Valkey or Redis; {EXPECTED}")
        user, at, server = rest.rpartition("@")
        if ":" in user:
            raise ValueError("a password does not belong into a setting; use valkey.password_file")
        if at and not user:
            raise ValueError(f"the user before @ is missing; {EXPECTED}")
        server, slash, number = server.partition("/")
        if slash and not re.fullmatch(r"[0-9]{0,5}", number):
            raise ValueError("after the slash comes the number of a database, such as /0")
        has_port = re.fullmatch(r"\[[^\]]*\]|[^:]*", server) is None
        address = parse_target(server if has_port else f"{server}:{USUAL_PORT}")
        if not isinstance(address, TcpAddress):
            raise ValueError(f"a Unix socket is not possible here; {EXPECTED}")
    except ValueError as error:
        reason = str(error).rpartition(": ")[2] if str(error).startswith("cannot connect to ") else str(error)
        raise ValueError(f"cannot connect to {masked_address(text)}: {reason}") from None
    return ValkeyUrl(address, scheme in ENCRYPTED, unquote(user), int(number or 0))
