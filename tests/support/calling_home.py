"""Judges the lines of strace: finds every use of the network, and every write to a forbidden path.

Rule: what is not known to stay on the machine counts. Allowed are loopback addresses, netlink (the kernel's own
tables), the engine's own Unix socket and those of user databases. A question to a name server counts on any address,
loopback included, and so does a look-up that /etc/hosts may have answered: on another machine it would not.
"""

import ast
import os
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from ipaddress import IPv6Address, ip_address
from pathlib import Path

from tests.support.strace import CHANGING, NETWORK, OPENING, UNSEEN

CALL = re.compile(r"(\w+)\((.*)")
ADDRESS = re.compile(r"\{sa_family=(\w+)(, [^{}]*)?\}")
INTERNET = re.compile(r'port=htons\((\d+)\).*?(?:inet_addr\(|inet_pton\(AF_INET6, )"([^"]+)"')
SOCKET_PATH = re.compile(r'sun_path=(@?"[^"]*")')
RESULT = re.compile(r"\) += (-?\d+|\?)(?:<(.*?)>(?:\(deleted\))?)?(?: E\w+ .*)?$")
QUOTED = re.compile(r'(?:(?:AT_FDCWD|\d+)<([^>]*)>, )?"((?:[^"\\]|\\.)*)"')
WRITES = re.compile(r"\bO_(?:WRONLY|RDWR|CREAT|TRUNC|APPEND|TMPFILE)\b")
NAME_PORTS = {53, 853, 5353, 5355}
"""DNS, DNS over TLS, multicast DNS, LLMNR."""
USER_DATABASES = ("/run/systemd/userdb/", "/var/run/nscd/", "/run/nscd/")
"""Asked for users by programs such as bash. nscd can be asked for hosts too: see `asks_for_a_host`."""
ENGINE_SOCKET = re.compile(r"/[^\0]*/sightline-\d+-\d+-run-[0-9a-f]+/triton:\d+")
"""A socket in a server's runtime folder belongs to its engine."""
NSCD_USERS = {0, 1, 2, 3, 11, 12, 15}
"""Requests of nscd's protocol for users and groups; all others are for hosts, networks and services."""
LINKING = {"link", "linkat", "symlink", "symlinkat"}
NO_FILES = ("/dev/", "/proc/", "/sys/", "/memfd:", "pipe:", "socket:", "anon_inode:")


@dataclass(frozen=True)
class Places:
    """The paths that a command may write: the longest matching prefix decides, and other paths are forbidden."""

    allowed: tuple[Path, ...]
    forbidden: tuple[Path, ...] = ()
    working_folder: Path = Path("/")
    code: tuple[Path, ...] = ()
    """Python's own folders: byte code below a `__pycache__` there is not counted."""
    _rules: Mapping[str, bool] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        rules = {str(path): True for path in self.allowed} | {str(path): False for path in self.forbidden}
        object.__setattr__(self, "_rules", rules)

    def allow(self, path: str) -> bool:
        """Returns whether a command may write `path`, which is absolute."""
        if path.startswith(NO_FILES):
            return True
        if "/__pycache__" in path and any(Path(path).is_relative_to(each) for each in self.code):
            return True
        fitting = [rule for rule in self._rules if Path(path).is_relative_to(rule)]
        return bool(fitting) and self._rules[max(fitting, key=len)]

    def forbid(self, path: str) -> bool:
        """Returns whether `path` is forbidden by its name, where an attempt counts as well."""
        return any(Path(path).is_relative_to(each) for each in self.forbidden) and not self.allow(path)


def findings(lines: Iterable[str], places: Places) -> list[str]:
    """The actions of the calls beyond loopback and the allowed paths, each once."""
    return list(dict.fromkeys(found for line in lines for found in judge(line, places)))


def judge(line: str, places: Places) -> Iterator[str]:
    """The action of one call beyond loopback and the allowed paths."""
    call = CALL.match(line)
    if call is None:
        return
    name, rest = call[1], call[2]
    if name in NETWORK:
        yield from judge_network(name, rest)
    elif name == UNSEEN and not rest.endswith("(Function not implemented)"):
        yield f"{name}: sends and writes through a ring, which strace does not show"
    elif name in OPENING or name in CHANGING:
        if '"/etc/hosts"' in rest:
            yield "looks up the address of a name, or the name of an address: reads /etc/hosts"
        yield from judge_files(name, rest, places)


def judge_network(name: str, rest: str) -> Iterator[str]:
    """Addresses that lead off the machine or to a name server."""
    if asks_for_a_host(name, rest):
        yield "asks nscd for a host"
    for family, content in ADDRESS.findall(rest):
        internet, path = INTERNET.search(content), SOCKET_PATH.search(content)
        if internet:
            port, address = int(internet[1]), ip_address(internet[2])
            if name != "bind" and port in NAME_PORTS:
                yield f"asks a name server: {name} {address} port {port}"
            elif not stays(address, listening=name == "bind"):
                yield f"{'listens on' if name == 'bind' else f'{name} to'} {address} port {port}"
        elif family == "AF_UNIX":
            if name != "bind" and path and not is_known(path[1].strip('"')):
                yield f"{name} to the Unix socket {path[1]}"
        elif family not in ("AF_NETLINK", "AF_UNSPEC"):
            yield f"{name} to an address of {family}{content}"


def is_known(path: str) -> bool:
    """Returns whether the Unix socket at `path` is a user database's or the engine's."""
    return path.startswith(USER_DATABASES) or ENGINE_SOCKET.fullmatch(path) is not None


def stays(address: object, *, listening: bool) -> bool:
    """Returns whether packets to `address` stay on the machine; to connect to 0.0.0.0 is to connect to loopback."""
    if isinstance(address, IPv6Address) and address.ipv4_mapped:
        address = address.ipv4_mapped
    unspecified = bool(getattr(address, "is_unspecified", False))
    return bool(getattr(address, "is_loopback", False)) or (unspecified and not listening)


def asks_for_a_host(name: str, rest: str) -> bool:
    """Returns whether a request to nscd, whose first number is its version 2, is for anything but users and groups."""
    sent = re.match(r'\d+<[^>]*>, "(\\2\\0\\0\\0(?:[^"\\]|\\.)*)"', rest)
    if name != "sendto" or sent is None:
        return False
    data: bytes = ast.literal_eval(f'b"{sent[1]}"')
    return len(data) >= 12 and int.from_bytes(data[4:8], "little") not in NSCD_USERS


def real(path: Path) -> str:
    """`path` with the links of its parents followed; the last part may itself be a link that the call makes."""
    return os.path.join(os.path.realpath(path.parent), path.name)


def judge_files(name: str, rest: str, places: Places) -> Iterator[str]:
    """Files that are opened for writing, made, renamed or removed where they should not be."""
    if name in OPENING and name != "creat" and not WRITES.search(rest):
        return
    result = RESULT.search(rest)
    failed = result is not None and result[1] == "-1"
    named = [real(places.working_folder / folder / path) for folder, path in QUOTED.findall(rest)]
    if name in LINKING:
        named = named[1:]  # what the link leads to is not written
    if name in OPENING:
        # The path that the kernel reports is the real one, with every link followed.
        named = [result[2]] if result is not None and result[2] else named[:1]
    elif name.startswith("symlink"):
        # The link is made; what it leads to is only a text.
        named = named[-1:]
    for path in named:
        if places.forbid(path) if failed else not places.allow(path):
            yield f"{'tries to write' if failed else 'writes'} {path} ({name})"
