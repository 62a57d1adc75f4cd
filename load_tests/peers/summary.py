"""Readings of all rounds -> what is reported: medians with spread, and where Sightline is ahead or behind. Pure.

Rule: a call without a good answer counts with at least the deadline, so that no server seems fast by refusing.
"""

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from load_tests.generator.records import Run, milliseconds
from load_tests.peers.subjects import DEADLINE_S, SIGHTLINE

Spread = dict[str, float]


@dataclass(slots=True)
class Readings:
    """The readings of one subject, a value a round."""

    photos_per_s: list[float] = field(default_factory=list)
    latencies: dict[str, list["Latency"]] = field(default_factory=dict)
    """By the name of the rate."""


@dataclass(frozen=True, slots=True)
class Latency:
    """One run at a rate: percentiles of all calls in ms, and the share that was answered well."""

    p50_ms: float
    p99_ms: float
    good_share: float
    valid: bool


def latency(run: Run) -> Latency:
    """The result of a run at a constant rate."""
    waited = np.where(run.good, run.latency_s, np.maximum(run.latency_s, DEADLINE_S))
    share = float(run.good.mean()) if len(run.good) else 0.0
    return Latency(milliseconds(waited, 50), milliseconds(waited, 99), round(share, 4), run.valid)


def spread(values: Sequence[float]) -> Spread:
    """Median, least and most."""
    return {
        "median": round(statistics.median(values), 3),
        "min": round(min(values), 3),
        "max": round(max(values), 3),
    }


def of_rate(readings: Mapping[str, Readings], rate: str) -> dict[str, Any]:
    """Each subject's percentiles at the rate named; None for a subject that was not asked for it."""
    return {name: of_latencies(found.latencies.get(rate, [])) for name, found in readings.items()}


def of_latencies(found: Sequence[Latency]) -> dict[str, Any] | None:
    """The percentiles of some runs."""
    if not found:
        return None
    return {
        "p50_ms": spread([one.p50_ms for one in found]),
        "p99_ms": spread([one.p99_ms for one in found]),
        "good_share": round(min(one.good_share for one in found), 4),
    }


def against(readings: Mapping[str, Readings], rates: Sequence[str]) -> dict[str, dict[str, float]]:
    """For each peer, Sightline over the peer: photos a second (above 1 is ahead), p99 at each rate (below 1 is)."""
    ours = readings[SIGHTLINE]
    compared: dict[str, dict[str, float]] = {}
    for name, theirs in readings.items():
        if name == SIGHTLINE:
            continue
        ratios = {"photos_per_s": ratio(ours.photos_per_s, theirs.photos_per_s)}
        for rate in rates:
            pair = [[one.p99_ms for one in found.latencies.get(rate, [])] for found in (ours, theirs)]
            if all(pair):
                ratios[f"p99_{rate}"] = ratio(*pair)
        compared[name] = ratios
    return compared


def ratio(ours: Sequence[float], theirs: Sequence[float]) -> float:
    """Median over median; infinity over nothing."""
    below = statistics.median(theirs)
    return round(statistics.median(ours) / below, 3) if below else float("inf")


def losses(compared: Mapping[str, Mapping[str, float]]) -> list[str]:
    """The losses of Sightline, as text."""
    found = []
    for name, ratios in compared.items():
        for figure, value in ratios.items():
            if value < 1.0 if figure == "photos_per_s" else value > 1.0:
                found.append(f"{figure}: {value:g} x that of {name}")
    return found
