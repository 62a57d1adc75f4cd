"""Checks of a server's surroundings for `sightline doctor`: folders, shared memory, addresses, proxies.

Rule: one finding each; they inspect and change nothing.
"""

import os
import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from sightline_models.places import locate_home
from sightline_server.domain.address import Address
from sightline_server.domain.checks import Check, Verdict
from sightline_server.errors import SightlineError
from sightline_server.rpc.listener.listening import obstacle
from sightline_server.settings import Settings
from sightline_server.triton import sharing
from sightline_server.triton.sharing import MIB

PROXIES = ("http_proxy", "https_proxy", "grpc_proxy", "all_proxy")
GRPC_PROXIES = ("grpc_proxy", "https_proxy", "http_proxy")
"""The variables that gRPC reads, in lower case only."""

SHARED_MEMORY = Path("/dev/shm")  # noqa: S108  (the kernel's, not a temporary file of ours)


def home_folder(settings: Settings) -> Check:
    """The folder for engine, models and catalogs, and the reason why it is that one."""
    if settings.home is not None:
        return Check("home", Verdict.OK, f"{settings.home} ({home_reason(settings.home)})")
    verdict = Verdict.FAIL if settings.engine.triton_url is None else Verdict.OK
    return Check("home", verdict, "this user has none", "set SIGHTLINE_HOME to a folder for engine and models")


def home_reason(path: Path) -> str:
    """The reason why `path` is the home: any other home than the default is from the settings."""
    home = locate_home()
    return home.source.value if home is not None and home.path == path else "from the settings"


def shared_memory(settings: Settings, folder: Path = SHARED_MEMORY, models: int = sharing.MODELS) -> Check:
    """The shared memory through which engine and server pass tensors; only the embedded engine requires it.

    `models` is the number of models of the engine.
    """
    short = Verdict.FAIL if settings.engine.triton_url is None else Verdict.WARN
    if not (folder.is_dir() and os.access(folder, os.W_OK)):
        return Check("shared memory", short, f"no writable {folder}", "mount a tmpfs there")
    room = sharing.room(folder)
    found = f"{room.free // MIB} of {room.total // MIB} MiB free in {folder}"
    wanted, minimum = sharing.ample(models), sharing.least(models)
    if room.free >= wanted:
        return Check("shared memory", Verdict.OK, found)
    size = wanted // MIB
    hint = f"{size} MiB are recommended, {minimum // MIB} the minimum; in a container: --shm-size={size}m"
    return Check("shared memory", Verdict.WARN if room.free >= minimum else short, found, hint)


def port(name: str, address: Address, check: Callable[[], None] = lambda: None) -> Check:
    """The finding about listening at `address`; `check` raises `SightlineError` where `serve` refuses it."""
    try:
        check()
    except SightlineError as error:
        return Check(name, Verdict.FAIL, error.message)
    if reason := obstacle(address):
        option = "--metrics-listen HOST:PORT" if "metrics" in name else "--listen HOST:PORT"
        return Check(name, Verdict.WARN, f"{address}: {reason}", f"choose another with {option}")
    return Check(name, Verdict.OK, f"{address} is free")


def proxies(environment: Mapping[str, str]) -> Iterator[Check]:
    """The proxies that the environment names, and the traffic that goes through them; none without a proxy."""
    named = [name for name in environment if name.lower() in PROXIES and environment[name]]
    if not named:
        return
    found = ", ".join(f"{name}={without_credentials(environment[name])}" for name in sorted(named))
    exempt = next((environment[name] for name in ("no_proxy", "NO_PROXY") if environment.get(name)), "")
    used = "for image downloads and pip"
    if any(name in GRPC_PROXIES for name in named):
        used += ", and for Triton, servers and collectors on other hosts"
    hint = f"{used}{f', but not for {exempt}' if exempt else ''}; never for this machine"
    yield Check("proxies", Verdict.OK, found, hint)


def without_credentials(url: str) -> str:
    """A proxy's URL as it may be shown: without user, password and path."""
    scheme = re.match(r"(?:[A-Za-z][A-Za-z0-9+.-]*://)?", url)
    start = scheme[0] if scheme else ""
    # The last @ first: a password may hold a slash.
    return f"{start}{url.removeprefix(start).rpartition('@')[2].partition('/')[0]}"
