"""Defaults off: what a catalog or a listener has not switched on is refused, and never ignored."""

from sightline.v1 import catalog_service_pb2, catalog_transfer_service_pb2
from sightline_privacy.calls import Caller
from sightline_privacy.checks.grants import Mode
from sightline_privacy.promises import Promise
from sightline_privacy.report import Result, judged

SERVICES = (
    *catalog_service_pb2.DESCRIPTOR.services_by_name.values(),
    *catalog_transfer_service_pb2.DESCRIPTOR.services_by_name.values(),
)


async def off(caller: Caller, mode: Mode) -> Result:
    """An unchecked grant does not seem to be checked, and the address of searches takes no writes of catalogs."""
    findings = ["a grant was accepted and not checked"] if mode is Mode.IGNORED else []
    methods = [f"/{service.full_name}/{method.name}" for service in SERVICES for method in service.methods]
    for path in methods:
        outcome = await caller.call(path, path, b"")
        if outcome.code not in ("UNIMPLEMENTED", "UNAUTHENTICATED", "PERMISSION_DENIED"):
            findings.append(f"the address of searches takes {path}")
    told = f"{len(methods)} methods of catalogs are not on the address of searches"
    consent = "a grant that is not checked is refused" if mode is Mode.OFF else f"consent is {mode.value}"
    return judged(Promise.DEFAULTS, findings, consent, told)
