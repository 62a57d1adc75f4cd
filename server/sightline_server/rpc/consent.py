"""The step of a call that is about its grant, and what its metadata says before its message is read.

    metadata -> grant, catalog, lane  ...the message...  are they the same? -> does the grant count? -> it is used up
Rule: metadata lets a call be refused before its photo is read, and never changes what a message asks for: where both
name something, they must agree.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from sightline_server.access.catalog_pass import CatalogPass
from sightline_server.access.checks import Access
from sightline_server.access.grants import refusals
from sightline_server.access.grants.claims import Grant
from sightline_server.access.grants.consent import Consent, Sent
from sightline_server.access.principal import Caller, Headers
from sightline_server.domain.request import Lane
from sightline_server.rpc.method import Target
from sightline_server.rpc.refusals import invalid

GRANT, CATALOG, LANE = "sightline-grant", "sightline-catalog", "sightline-lane"
LANES = {lane.name.lower(): lane for lane in Lane}


@dataclass(frozen=True, slots=True)
class Announced:
    """The grant, the catalog and the lane that the metadata of a call names; empty or None for one that it does not."""

    grant_text: str = field(default="", repr=False)
    catalog: str | None = None
    lane: Lane | None = None
    grant: Grant | None = None
    """The grant of `grant_text`, as far as it can be checked without the message."""
    granted: CatalogPass | None = None
    """The pass to `catalog`."""

    def check(self, catalog: str, lane: Lane, grant_text: str) -> None:
        """Checks that a message asks for the same. Raises `SightlineError` of kind INVALID_REQUEST."""
        if self.granted is not None and self.granted.catalog != catalog:
            raise invalid("catalog", f"the metadata {CATALOG} names another catalog")
        if self.lane not in (None, lane) or (self.granted is not None and self.granted.lane is not lane):
            raise invalid("lane", f"the metadata {LANE} must name the same lane, next to {CATALOG}")
        if grant_text and self.grant_text not in ("", grant_text):
            raise invalid("grant", f"the metadata {GRANT} is another grant")


NOTHING = Announced()
"""The metadata of a method that takes no grants."""


class ConsentStep:
    """Reads the grants of calls, and uses them up; refusals are audited."""

    def __init__(self, access: Access, consent: Consent) -> None:
        self._access = access
        self._consent = consent

    def announced(self, headers: Headers, caller: Caller) -> Announced:
        """The metadata of a call. Raises `SightlineError` where that refuses the call already."""
        texts = {name: single(headers, name) for name in (GRANT, CATALOG, LANE)}
        lane = lane_of(texts[LANE])
        granted = None
        if (catalog := texts[CATALOG]) is not None:
            granted = self._access.authorise(caller, catalog, Lane.INTERACTIVE if lane is None else lane)
        with self._audited(caller, granted):
            text = texts[GRANT] or ""
            grant = self._consent.read(text)
            if granted is not None and text:
                self._consent.settled(granted.catalog, text, grant)
        return Announced(text, catalog, lane, grant, granted)

    def authorised(self, caller: Caller, announced: Announced, target: Target, grant_text: str) -> CatalogPass:
        """The pass to the target of a message, which agrees with the metadata. Raises `SightlineError`."""
        announced.check(self._access.named(target.catalog), target.lane, grant_text)
        return announced.granted or self._access.authorise(caller, target.catalog, target.lane)

    def settled(self, caller: Caller, announced: Announced, catalog: CatalogPass, grant_text: str) -> Grant | None:
        """The grant of a call on `catalog`; None where it needs none. Raises `SightlineError`."""
        with self._audited(caller, catalog):
            grant = announced.grant or self._consent.read(grant_text)
            return self._consent.settled(catalog.catalog, grant_text or announced.grant_text, grant)

    async def use(self, caller: Caller, catalog: CatalogPass, grant: Grant, sent: Sent) -> None:
        """Uses `grant` up for a search of `sent`. Raises `SightlineError`."""
        with self._audited(caller, catalog):
            await self._consent.use(grant, sent, caller.principal.name)

    @contextmanager
    def _audited(self, caller: Caller, catalog: CatalogPass | None) -> Iterator[None]:
        try:
            yield
        except refusals.GrantRefusedError as error:
            self._access.refused(caller, catalog, error.reason)
            raise


def single(headers: Headers, name: str) -> str | None:
    """The value of the header `name`; None without one. Raises `SightlineError` for several, and for an empty one."""
    values = [value for key, value in headers if key.lower() == name]
    if not values:
        return None
    if len(values) > 1 or not isinstance(values[0], str) or not values[0]:
        raise invalid(name, "this metadata has one value that is not empty")
    return values[0]


def lane_of(text: str | None) -> Lane | None:
    """The lane of that name. Raises `SightlineError`."""
    if text is None:
        return None
    if text not in LANES:
        raise invalid(LANE, f"this metadata names a lane: {' or '.join(LANES)}")
    return LANES[text]
