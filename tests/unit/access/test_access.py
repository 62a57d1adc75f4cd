"""Access: who gets a pass, what a denial says and leaves behind, and that nothing else makes a pass."""

import io
import json
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace

import pytest

from sightline_server.access.audit import Audit, AuditRecord, LogAudit
from sightline_server.access.catalog_pass import CatalogPass
from sightline_server.access.checks import Access
from sightline_server.access.policy import Decision, OpenPolicy, Policy, Subject
from sightline_server.access.principal import ANONYMOUS, Caller, Identify, Presented, Principal, anonymous, invalid
from sightline_server.access.seal import Seal
from sightline_server.domain.catalogs import CatalogNames
from sightline_server.domain.request import Lane
from sightline_server.errors import ErrorKind, SightlineError
from sightline_server.telemetry.logging import JsonFormatter, PlainFormatter
from tests.support.passes import pass_to

NAMES = CatalogNames(("shop", "outlet"), "shop")
ASKED = Caller(Principal("app"), "sightline.v1.LensService", "Search", "r-1")


@dataclass
class Records:
    """Satisfies `Audit`; remembers what it is given."""

    kept: list[AuditRecord] = field(default_factory=list)

    def record(self, record: AuditRecord) -> None:
        self.kept.append(record)


@dataclass
class Rules:
    """Satisfies `Policy`: each principal has pairs of catalog and lane."""

    rights: dict[str, set[tuple[str, Lane]]]

    def decide(self, caller: Caller, catalog: str, lane: Lane) -> Decision:
        return Decision((catalog, lane) in self.rights.get(caller.principal.name, set()), "by the rules")

    def admit(self, caller: Caller) -> Decision:
        return Decision(True, "by the rules", Subject.METHOD)

    def decide_lane(self, caller: Caller, lane: Lane) -> Decision:
        return Decision(True, "by the rules", Subject.LANE)


def access(
    policy: Policy | None = None,
    audit: Audit | None = None,
    identify: Identify = anonymous,
    names: CatalogNames = NAMES,
) -> Access:
    return Access(identify=identify, policy=policy or OpenPolicy(), audit=audit or Records(), catalogs=names)


def test_without_a_policy_every_caller_gets_every_catalog_and_lane() -> None:
    checks = access()
    caller = checks.identify(Presented([("authorization", "Bearer x")]), service="s", method="m", request_id="r")
    assert caller == Caller(ANONYMOUS, "s", "m", "r")
    for lane in Lane:
        granted = checks.authorise(caller, "outlet", lane)
        assert (granted.catalog, granted.lane) == ("outlet", lane)


def test_an_empty_catalog_is_authorised_as_the_default_one() -> None:
    checks = access(Rules({"app": {("shop", Lane.INTERACTIVE)}}))
    assert checks.authorise(ASKED, "", Lane.INTERACTIVE).catalog == "shop"
    with pytest.raises(SightlineError):
        access(Rules({"app": {("outlet", Lane.INTERACTIVE)}})).authorise(ASKED, "", Lane.INTERACTIVE)


def test_a_decision_is_recorded_with_who_what_and_why() -> None:
    records = Records()
    checks = access(Rules({"app": {("shop", Lane.INTERACTIVE)}}), records)
    checks.authorise(ASKED, "shop", Lane.INTERACTIVE)
    with pytest.raises(SightlineError) as caught:
        checks.authorise(ASKED, "shop", Lane.BATCH)
    assert caught.value.kind is ErrorKind.UNKNOWN_CATALOG
    search = ("r-1", "app", "sightline.v1.LensService", "Search", "shop")
    assert records.kept == [
        AuditRecord(*search, "interactive", "allowed", "by the rules"),
        AuditRecord(*search, "batch", "denied", "by the rules"),
    ]


def test_a_denial_is_the_same_whether_the_catalog_exists() -> None:
    records = Records()
    checks = access(Rules({}), records)
    errors = []
    for catalog in ("shop", "secret", "x" * 5000, "a\nb"):
        with pytest.raises(SightlineError) as caught:
            checks.authorise(ASKED, catalog, Lane.INTERACTIVE)
        errors.append((caught.value.kind, caught.value.message, caught.value.field, dict(caught.value.metadata)))
    assert len(set(map(str, errors))) == 1
    # What a caller invents is not kept.
    assert [record.catalog for record in records.kept] == ["shop", "", "", ""]


def test_a_reason_of_the_policy_is_not_told_to_the_caller() -> None:
    with pytest.raises(SightlineError) as caught:
        access(Rules({})).authorise(ASKED, "shop", Lane.INTERACTIVE)
    assert "rules" not in str(vars(caught.value))


def refuse(presented: Presented) -> Principal:
    raise invalid("the signature of the token is not valid")


def test_a_caller_who_is_not_identified_is_recorded_as_denied() -> None:
    records = Records()
    with pytest.raises(SightlineError) as caught:
        access(audit=records, identify=refuse).identify(Presented([]), service="s", method="m", request_id="r")
    assert caught.value.kind is ErrorKind.UNAUTHENTICATED
    assert records.kept == [AuditRecord("r", "", "s", "m", "", "", "denied", "the signature of the token is not valid")]


class Broken:
    """A policy and an audit that fail."""

    def admit(self, caller: Caller) -> Decision:
        raise RuntimeError("no policy")

    def decide_lane(self, caller: Caller, lane: Lane) -> Decision:
        raise RuntimeError("no policy")

    def decide(self, caller: Caller, catalog: str, lane: Lane) -> Decision:
        raise RuntimeError("no policy")

    def record(self, record: AuditRecord) -> None:
        raise OSError("the disk is full")


def test_a_policy_or_an_audit_that_fails_gives_no_pass() -> None:
    with pytest.raises(RuntimeError):
        access(Broken()).authorise(ASKED, "shop", Lane.INTERACTIVE)
    with pytest.raises(OSError, match="full"):
        access(audit=Broken()).authorise(ASKED, "shop", Lane.INTERACTIVE)


def test_a_pass_is_not_made_without_the_seal_and_not_changed() -> None:
    with pytest.raises(TypeError):
        CatalogPass(Seal(), "shop", Lane.INTERACTIVE)
    granted = pass_to("shop")
    with pytest.raises((TypeError, ValueError)):
        replace(granted, catalog="outlet")  # type: ignore[call-arg]
    with pytest.raises(AttributeError):
        granted.catalog = "outlet"  # type: ignore[misc]


@contextmanager
def logged(formatter: logging.Formatter, level: int) -> Iterator[io.StringIO]:
    """The lines that the audit's logger writes at `level`."""
    logger, written = logging.getLogger("sightline_server.access.audit"), io.StringIO()
    handler = logging.StreamHandler(written)
    handler.setFormatter(formatter)
    logger.addHandler(handler)
    before, propagate = logger.level, logger.propagate
    logger.setLevel(level)
    logger.propagate = False
    try:
        yield written
    finally:
        logger.removeHandler(handler)
        logger.setLevel(before)
        logger.propagate = propagate


DENIED = AuditRecord("r-1", "app", "sightline.v1.LensService", "Search", "", "batch", "denied", "not in the policy")


def test_a_denied_call_is_a_structured_warning() -> None:
    with logged(JsonFormatter(), logging.INFO) as written:
        LogAudit().record(DENIED)
    line = json.loads(written.getvalue())
    assert (line.pop("level"), line.pop("message")) == ("WARNING", "access denied")
    assert line.pop("time") and line.pop("logger") == "sightline_server.access.audit"
    assert line == {
        "request_id": "r-1",
        "decision": "denied",
        "principal": "app",
        "service": "sightline.v1.LensService",
        "method": "Search",
        "lane": "batch",
        "reason": "not in the policy",
    }


def test_an_allowed_call_is_logged_at_level_debug_only() -> None:
    allowed = replace(DENIED, decision="allowed")
    with logged(JsonFormatter(), logging.INFO) as written:
        LogAudit().record(allowed)
        assert written.getvalue() == ""
    with logged(JsonFormatter(), logging.DEBUG) as written:
        LogAudit().record(allowed)
        assert json.loads(written.getvalue())["level"] == "DEBUG"


def test_a_name_in_a_plain_line_does_not_look_like_other_fields() -> None:
    with logged(PlainFormatter(), logging.INFO) as written:
        LogAudit().record(replace(DENIED, principal="eve decision=allowed\n2026"))
    (line,) = written.getvalue().splitlines()
    assert ' decision=denied principal="eve decision=allowed 2026" service=' in line
    assert line.endswith(' reason="not in the policy"')
