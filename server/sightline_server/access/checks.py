"""The access checks of a call: who calls and whether the method is allowed, then the catalog and the lane.

    headers -> Caller  ...the request is read and parsed...  catalog, lane -> CatalogPass
Rule: each decision is audited before it takes effect: a call waits in `audited` before its request is answered, and in
`auditing` before it ends. What a policy or an audit raises refuses the call.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace

from sightline_server.access.audit import ALLOWED, DENIED, Audit, AuditRecord, DurableAudit
from sightline_server.access.catalog_pass import EVERY_CATALOG, CatalogPass
from sightline_server.access.policy import Decision, Policy, Subject
from sightline_server.access.principal import Caller, Identify, Presented, UnidentifiedError
from sightline_server.access.quotas.quotas import UNLIMITED, CallQuotas
from sightline_server.access.seal import SEAL
from sightline_server.domain.catalogs import CatalogNames, unknown_catalog
from sightline_server.domain.request import Lane
from sightline_server.errors import ErrorKind, SightlineError


class Access:
    """The checks of one server; `catalogs` are the names that it has."""

    def __init__(
        self,
        *,
        identify: Identify,
        policy: Policy,
        audit: Audit,
        catalogs: CatalogNames,
        quotas: CallQuotas = UNLIMITED,
    ) -> None:
        self._identify = identify
        self._policy = policy
        self._audit = audit
        self._durable = audit if isinstance(audit, DurableAudit) else None
        self._catalogs = catalogs
        self.quotas = quotas
        """The quotas of calls by principal, shared by all listeners of the server."""

    @asynccontextmanager
    async def auditing(self, request_id: str) -> AsyncIterator[None]:
        """The scope of a call: its status, that of an error included, is sent when its records are kept."""
        try:
            try:
                yield
            except Exception:
                await self.audited(request_id)
                raise
            await self.audited(request_id)
        finally:
            if self._durable is not None:
                self._durable.forget(request_id)

    async def audited(self, request_id: str) -> None:
        """Returns when the records of the call up to now are kept. Raises what the audit raises."""
        if self._durable is not None:
            await self._durable.durable(request_id)

    def identify(self, presented: Presented, *, service: str, method: str, request_id: str) -> Caller:
        """The caller of `method` of `service`, who may call it.

        Raises `SightlineError` of kind UNAUTHENTICATED or PERMISSION_DENIED.
        """
        unknown = AuditRecord(request_id, "", service, method, "", "", DENIED, "")
        try:
            principal = self._identify(presented)
        except UnidentifiedError as error:
            self._audit.record(replace(unknown, reason=error.reason))
            raise
        except SightlineError as error:
            self._audit.record(replace(unknown, reason=error.message))
            raise
        caller = Caller(principal, service, method, request_id)
        decision = self._policy.admit(caller)
        if not decision.allowed:
            self._audit.record(replace(unknown, principal=principal.name, reason=decision.reason))
            raise denied(Subject.METHOD)
        return caller

    def authorise(self, caller: Caller, catalog: str, lane: Lane) -> CatalogPass:
        """The pass of `caller` to `catalog`, as a request names it, in `lane`.

        Raises `SightlineError`: UNKNOWN_CATALOG where the caller may not use the catalog, as for one that the server
        does not have, and PERMISSION_DENIED where it may not use the lane. Whether the server has the catalog is not
        checked here.
        """
        name = self._catalogs.named(catalog)
        self._settle(caller, name, lane, self._policy.decide(caller, name, lane))
        return CatalogPass(SEAL, name, lane)

    def authorise_server(self, caller: Caller, lane: Lane) -> CatalogPass:
        """The pass of `caller` for a call in `lane` about the server as a whole, which shows the caller's catalogs.

        Raises `SightlineError` of kind PERMISSION_DENIED.
        """
        self._settle(caller, EVERY_CATALOG, lane, self._policy.decide_lane(caller, lane))

        def shows(name: str) -> bool:
            return self._policy.decide(caller, name, lane).allowed

        return CatalogPass(SEAL, EVERY_CATALOG, lane, shows)

    def named(self, catalog: str) -> str:
        """The name of the catalog that a request means by `catalog`, which the server may not have."""
        return self._catalogs.named(catalog)

    def refused(self, caller: Caller, catalog: CatalogPass | None, reason: str) -> None:
        """Audits that a call which was authorised is refused by its grant; `catalog` is None where it is not known."""
        self._audit.record(
            AuditRecord(
                request_id=caller.request_id,
                principal=caller.principal.name,
                service=caller.service,
                method=caller.method,
                catalog=catalog.catalog if catalog is not None and catalog.catalog in self._catalogs.names else "",
                lane="" if catalog is None else catalog.lane.name.lower(),
                decision=DENIED,
                reason=reason,
            )
        )

    def _settle(self, caller: Caller, name: str, lane: Lane, decision: Decision) -> None:
        """Audits `decision`, and raises the error of a denial."""
        record = AuditRecord(
            request_id=caller.request_id,
            principal=caller.principal.name,
            service=caller.service,
            method=caller.method,
            catalog=name if name in self._catalogs.names else "",
            lane=lane.name.lower(),
            decision=ALLOWED if decision.allowed else DENIED,
            reason=decision.reason,
        )
        self._audit.record(record)
        if not decision.allowed:
            raise denied(decision.subject)


def denied(subject: Subject) -> SightlineError:
    """The error of a call that the policy denies.

    For a catalog it is that of a catalog which does not exist, so that it does not say which catalogs exist.
    """
    if subject is Subject.CATALOG:
        return unknown_catalog()
    return SightlineError(
        ErrorKind.PERMISSION_DENIED,
        f"this caller may not use this {subject.value}",
        metadata={"subject": subject.value},
    )
