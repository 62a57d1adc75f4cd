"""The findings of `sightline doctor`."""

from dataclasses import dataclass
from enum import Enum


class Verdict(Enum):
    """The result of a check."""

    OK = "OK"
    WARN = "WARN"
    FAIL = "FAIL"


@dataclass(frozen=True, slots=True)
class Check:
    """One finding; `hint` says what to do where something is to be done."""

    name: str
    verdict: Verdict
    found: str
    hint: str = ""
