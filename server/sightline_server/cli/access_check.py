"""The findings of `sightline doctor` about the files that say who may call, and who signs consent grants."""

import asyncio
from collections.abc import Iterator
from typing import TYPE_CHECKING

from sightline_server.counting import counted
from sightline_server.domain.checks import Check, Verdict
from sightline_server.errors import SightlineError
from sightline_server.settings import Settings

if TYPE_CHECKING:
    from sightline_server.app.access import AccessFiles

NAME = "access"
CONSENT = "consent"
VALKEY = "valkey"
VALKEY_S = 5.0


def access(settings: Settings) -> Iterator[Check]:
    """The finding; none without a policy."""
    if settings.access.policy_file is None:
        return
    # Late, so that a machine can be examined before it has the libraries of the server.
    from sightline_server.app.access import open_access_files

    try:
        files = open_access_files(settings)
    except SightlineError as error:
        yield Check(NAME, Verdict.FAIL, error.message, "docs/operate/access.md describes the files")
        return
    if files is not None:
        yield finding(files)


def consent(settings: Settings) -> Iterator[Check]:
    """The finding about consent grants; none where no catalog takes them."""
    if settings.consent.jwks_file is None:
        return
    # Late, for the same reason.
    from sightline_server.app.consent import demands_of, open_grant_file

    try:
        file = open_grant_file(settings)
    except SightlineError as error:
        yield Check(CONSENT, Verdict.FAIL, error.message, "docs/guide/consent.md describes the file")
        return
    if file is not None:
        demands = demands_of(settings)
        modes = [f"{name} {demands.of(name).value}" for name in settings.catalog_names.names]
        yield Check(CONSENT, Verdict.OK, ", ".join(modes))


def valkey(settings: Settings) -> Iterator[Check]:
    """The finding about the server of used grants; none where grants are not noted in Valkey."""
    target = settings.valkey.target
    if target is None:
        return
    # Late, for the same reason.
    from sightline_server.access.grants.valkey_store import ValkeyError
    from sightline_server.app.valkey import described

    async def ask() -> tuple[str, bool]:
        async with asyncio.timeout(VALKEY_S):
            return await described(settings.valkey)

    try:
        found, keeps = asyncio.run(ask())
    except SightlineError as error:
        yield Check(VALKEY, Verdict.FAIL, error.message, "docs/guide/consent.md describes the settings")
        return
    except (ValkeyError, TimeoutError) as error:
        cause = str(error) or "no answer in time"
        hint = "the server starts and refuses grants until it answers; check valkey.url and valkey.password_file"
        yield Check(VALKEY, Verdict.WARN, f"{target.address} cannot be used: {cause}", hint)
        return
    hint = "" if keeps else "it may forget used grants when its memory is full: set maxmemory-policy noeviction"
    yield Check(VALKEY, Verdict.OK if keeps else Verdict.WARN, f"{found} at {target.address}", hint)


def finding(files: "AccessFiles") -> Check:
    """The finding about files that can be used: keys of principals that the policy lacks are reported."""
    rights = files.policy.value.rights
    found = counted(len(rights), "principal")
    stored = [] if files.keys is None else list(files.keys.value.keys.values())
    if stored:
        found += f", {counted(len(stored), 'API key')}"
    unknown = sorted({key.principal for key in stored if key.revoked is None} - set(rights))
    if unknown:
        names = ", ".join(unknown)
        return Check(NAME, Verdict.WARN, f"{found}; keys for {names} are refused", "add these principals to the policy")
    return Check(NAME, Verdict.OK, found)
