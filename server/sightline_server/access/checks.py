"""The access checks of a call: who calls, then whether the caller may use the catalog and the lane.

    headers -> Caller  ...the request is read and parsed...  catalog, lane -> CatalogPass
Rule: each decision is audited before it takes effect. What a policy or an audit raises refuses the call.
"""

from sightline_server.access.audit import ALLOWED, DENIED, Audit, AuditRecord
from sightline_server.access.catalog_pass import CatalogPass
from sightline_server.access.policy import Policy
from sightline_server.access.principal import Caller, Headers, Identify
from sightline_server.access.seal import SEAL
from sightline_server.domain.catalogs import CatalogNames
from sightline_server.domain.request import Lane
from sightline_server.errors import ErrorKind, SightlineError


class Access:
    """The checks of one server; `catalogs` are the names that it has."""

    def __init__(self, *, identify: Identify, policy: Policy, audit: Audit, catalogs: CatalogNames) -> None:
        self._identify = identify
        self._policy = policy
        self._audit = audit
        self._catalogs = catalogs

    def identify(self, headers: Headers, *, service: str, method: str, request_id: str) -> Caller:
        """The caller of `method` of `service`. Raises `SightlineError` of kind UNAUTHENTICATED."""
        try:
            principal = self._identify(headers)
        except SightlineError as error:
            self._audit.record(AuditRecord(request_id, "", service, method, "", "", DENIED, error.message))
            raise
        return Caller(principal, service, method, request_id)

    def authorise(self, caller: Caller, catalog: str, lane: Lane) -> CatalogPass:
        """The pass of `caller` to `catalog`, as a request names it, in `lane`.

        Raises `SightlineError` of kind PERMISSION_DENIED. Whether the server has the catalog is not checked here.
        """
        name = self._catalogs.named(catalog)
        decision = self._policy.decide(caller, name, lane)
        self._audit.record(
            AuditRecord(
                request_id=caller.request_id,
                principal=caller.principal.name,
                service=caller.service,
                method=caller.method,
                catalog=name if name in self._catalogs.names else "",
                lane=lane.name.lower(),
                decision=ALLOWED if decision.allowed else DENIED,
                reason=decision.reason,
            )
        )
        if not decision.allowed:
            raise denied()
        return CatalogPass(SEAL, name, lane)


def denied() -> SightlineError:
    """The error of a call that the policy denies; it does not say whether the catalog exists."""
    return SightlineError(
        ErrorKind.PERMISSION_DENIED,
        "catalog: this caller may not use this catalog in this lane, or the server does not have it",
        field="catalog",
    )
