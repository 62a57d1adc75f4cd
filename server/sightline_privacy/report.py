"""The result of a verification: one verdict for each promise, as lines or as JSON.

Rule: a finding says which kind of fact was found and where, never the fact itself.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from enum import StrEnum

from sightline_privacy.promises import Promise


class Verdict(StrEnum):
    """The outcome of one check."""

    HOLDS = "holds"
    BROKEN = "broken"
    NOT_CHECKED = "not checked"


@dataclass(frozen=True, slots=True)
class Result:
    """The verdict about one promise, with what was checked, what was found, or what is missing for a check."""

    promise: Promise
    verdict: Verdict
    reasons: tuple[str, ...]

    def line(self) -> str:
        """The result as one line."""
        return f"{self.promise.title:<20} {self.verdict.value:<12} {'; '.join(self.reasons)}"


def holds(promise: Promise, *checked: str) -> Result:
    """The promise holds in what was `checked`."""
    return Result(promise, Verdict.HOLDS, checked)


def broken(promise: Promise, findings: Iterable[str]) -> Result:
    """The promise is broken; each finding once."""
    return Result(promise, Verdict.BROKEN, tuple(dict.fromkeys(findings)))


def not_checked(promise: Promise, reason: str) -> Result:
    """The promise was not checked, for a reason that says how it can be."""
    return Result(promise, Verdict.NOT_CHECKED, (reason,))


def judged(promise: Promise, findings: Iterable[str], *checked: str) -> Result:
    """Broken where there are findings, else the promise holds in what was `checked`."""
    found = tuple(findings)
    return broken(promise, found) if found else holds(promise, *checked)


@dataclass(frozen=True, slots=True)
class Report:
    """The results of all promises, in their order."""

    results: tuple[Result, ...]

    def of(self, promise: Promise) -> Result:
        """The result of one promise."""
        return next(each for each in self.results if each.promise is promise)

    @property
    def is_broken(self) -> bool:
        """True if any promise is broken."""
        return any(each.verdict is Verdict.BROKEN for each in self.results)

    def lines(self) -> Iterator[str]:
        """One line for each promise, then their counts."""
        for each in self.results:
            yield each.line()
        counts = [sum(each.verdict is verdict for each in self.results) for verdict in Verdict]
        yield "{} of {} promises hold, {} broken, {} not checked".format(counts[0], len(self.results), *counts[1:])

    def as_json(self) -> dict[str, object]:
        """The report as a JSON object."""
        return {
            "promises": [
                {
                    "name": each.promise.title,
                    "statement": each.promise.statement,
                    "verdict": each.verdict.value,
                    "reasons": list(each.reasons),
                }
                for each in self.results
            ],
            "broken": self.is_broken,
        }
