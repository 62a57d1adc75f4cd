"""The judgement of a drill from Envoy's access log. Pure.

Rule: a call is lost when it ended in anything but an answer or a refusal for lack of room. It may be lost only where it
was inside the replica that failed; the log says which replica had it, and when.
"""

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

OK, RESOURCE_EXHAUSTED = 0, 8
DETECTED_WITHIN_S = 3.0
EVEN_WITHIN = 0.12
"""The largest difference from one half of the share of one of two equal replicas."""
MOST_SHARE_SLOWED = 0.4
CLOCKS_S = 0.05
"""The log's instants are of milliseconds, and a signal takes a moment to arrive."""


@dataclass(frozen=True, slots=True)
class Logged:
    """A call as Envoy saw it: seconds of the wall clock, the replica that had it last, its gRPC status if any came."""

    start: float
    end: float
    replica: str
    status: int | None
    flags: str = ""
    """Envoy's reason where it ended the call itself."""
    attempts: int = 1

    @property
    def lost(self) -> bool:
        """True for a call without an answer or a refusal for lack of room."""
        return self.status not in (OK, RESOURCE_EXHAUSTED)


@dataclass(frozen=True, slots=True)
class Fault:
    """The replica that was made to fail, the instant of that, and when the balancer knew (None: never).

    `gone_s` are the seconds until a killed one had closed its connections: a signal returns before a process has ended,
    and what Envoy sends until then is accepted by the kernel for it.
    """

    case: str
    replica: str
    at: float
    detected_s: float | None
    gone_s: float = 0.0

    def described(self, call: Logged) -> str:
        """One call for a reader: when it began and ended, relative to the fault, where, and how."""
        other = "the other one" if call.replica else "none"
        where = "the failed one" if call.replica == self.replica else other
        return (
            f"{call.start - self.at:+.3f} to {call.end - self.at:+.3f} s on {where}, status {call.status}, "
            f"{call.flags or 'no flags'}, attempt {call.attempts}"
        )


@dataclass(frozen=True, slots=True)
class Verdict:
    """The figures of a case, and whether its bound holds."""

    case: str
    calls: int
    answered: int
    refused: int
    lost: int
    inside: int
    """Calls in the replica when it failed."""
    lost_elsewhere: int
    """Lost calls that the replica did not have when it failed, or later while nobody knew."""
    detected_s: float | None
    after: int
    """Calls that the other replica answered afterwards."""
    holds: bool
    shares: tuple[float, float] | None = None
    """The replica's share of the calls before the fault, and of those in the second half after it; for `slowed`."""
    elsewhere: tuple[str, ...] = ()
    """Each call that was lost elsewhere, for a reader."""

    @property
    def line(self) -> str:
        """One line for a reader."""
        known = "not detected" if self.detected_s is None else f"detected after {self.detected_s:.2f} s"
        if self.shares:
            known = f"its share was {self.shares[0]:.0%} before and {self.shares[1]:.0%} after"
        each = "".join(f"\n  lost elsewhere: {call}" for call in self.elsewhere)
        return (
            f"{self.case}: {'holds' if self.holds else 'MISSED'}: {self.lost} lost of {self.calls} calls, "
            f"{self.inside} were inside the replica, {self.lost_elsewhere} lost elsewhere, {self.refused} refused, "
            f"{known}, {self.after} answered by the other one afterwards{each}"
        )


def judge(calls: Sequence[Logged], fault: Fault) -> Verdict:
    """The verdict on the calls of a run with one fault.

    killed: nothing is lost but calls inside. drained: nothing is lost. frozen: the balancer knows within 3 s, and
    nothing is lost but calls that were inside or came before it knew. slowed: nothing is lost, and its share of the
    calls was about half and falls.
    """
    lost = [call for call in calls if call.lost]
    inside = [call for call in calls if was_inside(call, fault)]
    elsewhere = [call for call in lost if not may_be_lost(call, fault)]
    after = [call for call in calls if call.start > fault.at and call.status == OK and call.replica != fault.replica]
    known = fault.detected_s is not None and fault.detected_s <= DETECTED_WITHIN_S
    shares = shares_of(calls, fault) if fault.case == "slowed" else None
    shifted = shares is not None and abs(shares[0] - 0.5) <= EVEN_WITHIN and shares[1] <= MOST_SHARE_SLOWED
    bounds = {"killed": True, "drained": not lost, "frozen": known, "slowed": shifted and not lost}
    holds = bool(after) and not elsewhere and bounds[fault.case]
    return Verdict(
        case=fault.case,
        calls=len(calls),
        answered=sum(call.status == OK for call in calls),
        refused=sum(call.status == RESOURCE_EXHAUSTED for call in calls),
        lost=len(lost),
        inside=len(inside),
        lost_elsewhere=len(elsewhere),
        detected_s=fault.detected_s,
        after=len(after),
        holds=holds,
        shares=shares,
        elsewhere=tuple(fault.described(call) for call in elsewhere),
    )


def shares_of(calls: Sequence[Logged], fault: Fault) -> tuple[float, float]:
    """The replica's share of the calls before the fault, and of those in the second half of the time after it."""
    begins = [call.start for call in calls]
    middle = (fault.at + max(begins, default=fault.at)) / 2
    return (
        share([call for call in calls if call.start < fault.at], fault.replica),
        share([call for call in calls if call.start >= middle], fault.replica),
    )


def share(calls: Sequence[Logged], replica: str) -> float:
    """The share of `calls` that `replica` had; 0 of none."""
    return sum(call.replica == replica for call in calls) / len(calls) if calls else 0.0


def may_be_lost(call: Logged, fault: Fault) -> bool:
    """True for a call that the replica had when it failed, or that came to a frozen one before the balancer knew."""
    if fault.case != "frozen":
        return was_inside(call, fault)
    known_s = DETECTED_WITHIN_S if fault.detected_s is None else fault.detected_s
    return call.replica == fault.replica and call.start <= fault.at + known_s + CLOCKS_S


def was_inside(call: Logged, fault: Fault) -> bool:
    """True for a call that the replica had at the instant of the fault, or that reached a killed one before its end."""
    began = call.start - CLOCKS_S <= fault.at + fault.gone_s
    return call.replica == fault.replica and began and fault.at <= call.end + CLOCKS_S


def read_log(lines: Iterable[str]) -> list[Logged]:
    """The calls of an access log that `envoy.py` configured. Raises `ValueError` for a line of another form."""
    return [logged(json.loads(line)) for line in lines if line.strip()]


def logged(fields: dict[str, Any]) -> Logged:
    """One line of the log. Envoy writes null where there is no value."""
    start = datetime.fromisoformat(fields["start"]).timestamp()
    status = fields["status"]
    return Logged(
        start=start,
        end=start + int(fields["ms"]) / 1e3,
        replica=fields["replica"] or "",
        status=None if status is None else int(status),
        flags=fields.get("flags") or "",
        attempts=int(fields.get("attempts") or 1),
    )
