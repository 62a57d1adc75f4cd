"""A scenario file: who calls how often, how the callers behave, and what must hold afterwards.

Rule: loads are fractions of what the server can do, so that a file means the same on every machine.
"""

import random
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from load_tests.generator.arrivals import Phase, schedule
from load_tests.generator.caller import PATIENT, Manner
from load_tests.generator.tasks import Due, Moment

FOLDER = Path(__file__).parent


@dataclass(frozen=True, slots=True)
class Mix:
    """The shares of the callers that send bad bytes or read slowly (one message each `pause_s`)."""

    bad: float = 0.0
    slow: float = 0.0
    pause_s: float = 0.0


@dataclass(frozen=True, slots=True)
class Departures:
    """`calls` cancelled calls after `warm_up` of them, `callers` at a time."""

    warm_up: int
    calls: int
    callers: int
    moments: tuple[Moment, ...]


@dataclass(frozen=True, slots=True)
class Threshold:
    """A bound on one figure of the report."""

    figure: str
    at_most: float = float("inf")
    at_least: float = float("-inf")

    def holds(self, value: float) -> bool:
        """Returns whether `value` is within the bound; NaN is not."""
        return self.at_least <= value <= self.at_most

    def __str__(self) -> str:
        return f"<= {self.at_most:g}" if self.at_most != float("inf") else f">= {self.at_least:g}"


@dataclass(frozen=True, slots=True)
class Scenario:
    """One file. `phases` hold loads, not rates."""

    name: str
    about: str
    phases: tuple[Phase, ...]
    callers: Mix
    thresholds: tuple[Threshold, ...]
    deadline_s: float = 2.0
    abandon: Departures | None = None
    photo_edge: int = 0
    """Photos are reduced to this longer edge; 0 leaves them as they are."""
    environment: Mapping[str, str] = field(default_factory=dict)
    """Settings of a server of the scenario's own, as environment variables."""
    products: int = 0
    """A server of the scenario's own serves so many random products; 0: the catalog of the command line."""

    @property
    def seconds(self) -> float:
        """The seconds for which it sends."""
        return sum(phase.seconds for phase in self.phases)

    def lasting(self, seconds: float) -> "Scenario":
        """The same with its phases stretched or shortened to `seconds` in all."""
        factor = seconds / self.seconds
        phases = tuple(Phase(p.name, p.seconds * factor, p.start_rate, p.end_rate) for p in self.phases)
        return replace(self, phases=phases)

    def calls(self, capacity: float, good: int, bad: int, *, seed: int | None = None) -> list[Due]:
        """The schedule for a server that does `capacity` photos a second.

        Requests are numbered: `good` ones first, `bad` ones after them. With `seed` arrivals are a Poisson process.
        """
        rates = [Phase(p.name, p.seconds, p.start_rate * capacity, p.end_rate * capacity) for p in self.phases]
        source = random.Random(0)
        slow = Manner(pause_s=self.callers.pause_s)
        due = []
        for place, at in enumerate(schedule(rates, seed=seed)):
            request = good + source.randrange(bad) if source.random() < self.callers.bad else place % good
            due.append(Due(at, request, slow if source.random() < self.callers.slow else PATIENT))
        return due


def read_scenario(name: str) -> Scenario:
    """The scenario of a file, or of that name in `scenarios/`. Raises ValueError for what it does not know."""
    path = Path(name) if name.endswith(".toml") else FOLDER / f"{name}.toml"
    if not path.is_file():
        raise ValueError(f"no scenario {name}; there are {', '.join(known())}")
    given = tomllib.loads(path.read_text())
    try:
        return to_scenario(path.stem, given)
    except (TypeError, KeyError) as error:
        raise ValueError(f"{path}: {error}") from error


def known() -> list[str]:
    """The names of the scenarios that come with this package."""
    return sorted(path.stem for path in FOLDER.glob("*.toml"))


def to_scenario(name: str, given: dict[str, Any]) -> Scenario:
    abandon = given.pop("abandon", None)
    return Scenario(
        name=name,
        about=given.pop("about"),
        phases=tuple(to_phase(**phase) for phase in given.pop("phases", ())),
        callers=Mix(**given.pop("callers", {})),
        thresholds=tuple(Threshold(figure, **bound) for figure, bound in given.pop("thresholds", {}).items()),
        abandon=None if abandon is None else to_departures(**abandon),
        **given,
    )


def to_phase(name: str, seconds: float, load: float, until: float | None = None) -> Phase:
    return Phase(name, seconds, load, load if until is None else until)


def to_departures(moments: Sequence[dict[str, Any]], **rest: Any) -> Departures:
    return Departures(moments=tuple(Moment(**moment) for moment in moments), **rest)
