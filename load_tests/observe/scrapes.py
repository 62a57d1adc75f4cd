"""The metrics of the server and Triton during a run: scrapes of `/metrics` and the figures in them.

Rule: only differences between two scrapes count; a histogram's quantile is given as the bounds of its bucket allow.
"""

import asyncio
import time
import urllib.request
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field

from prometheus_client.parser import text_string_to_metric_families

from sightline_server.domain.stages import STAGE_NAMES

Labels = tuple[tuple[str, str], ...]
Samples = Mapping[tuple[str, Labels], float]


@dataclass(frozen=True, slots=True)
class Scrape:
    """All samples of `/metrics` at one instant of the monotonic clock."""

    at: float
    samples: Samples = field(repr=False)

    def sum(self, name: str, **labels: str) -> float:
        """The sum of all samples called `name` that carry `labels`."""
        wanted = set(labels.items())
        return sum(value for (found, given), value in self.samples.items() if found == name and wanted <= set(given))


DIRECT = urllib.request.build_opener(urllib.request.ProxyHandler({}))
"""Asks the server itself, whatever proxies the environment names."""


def scrape(url: str) -> Scrape:
    """Reads `url` now."""
    with DIRECT.open(url, timeout=5.0) as answer:
        text = answer.read().decode()
    samples = {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }
    return Scrape(time.monotonic(), samples)


@dataclass(frozen=True, slots=True)
class Between:
    """The growth from one scrape to a later one."""

    before: Scrape
    after: Scrape

    def grown(self, name: str, **labels: str) -> float:
        """The sum of the growth of the samples called `name` with `labels`."""
        return self.after.sum(name, **labels) - self.before.sum(name, **labels)

    def mean(self, histogram: str, **labels: str) -> float:
        """The mean of what a histogram observed; 0 when it observed nothing."""
        count = self.grown(f"{histogram}_count", **labels)
        return self.grown(f"{histogram}_sum", **labels) / count if count else 0.0

    def quantile_bound(self, histogram: str, quantile: float, **labels: str) -> float:
        """The upper bound of the quantile's bucket; infinity when it is the last, 0 without observations."""
        bounds = {
            dict(given)["le"]
            for name, given in self.after.samples
            if name == f"{histogram}_bucket" and set(labels.items()) <= set(given)
        }
        total = self.grown(f"{histogram}_count", **labels)
        if not total:
            return 0.0
        for bound in sorted(bounds, key=float):
            if self.grown(f"{histogram}_bucket", le=bound, **labels) >= quantile * total:
                return float(bound)
        return float("inf")

    def stage_shares(self) -> dict[str, float]:
        """Mean milliseconds of a call in each stage, waiting included."""
        return {stage: round(self.mean("sightline_stage_seconds", stage=stage) * 1e3, 2) for stage in STAGE_NAMES}

    def mean_batch(self, batcher: str) -> float:
        """Items per batch of `frames`, `crops` or `queries`."""
        return round(self.mean("sightline_batch_size", batcher=batcher), 3)


async def follow(url: str, every_s: float, until: asyncio.Event) -> list[Scrape]:
    """Scrapes `url` now, every `every_s` seconds, and once more when `until` is set."""
    found = [await asyncio.to_thread(scrape, url)]
    while not until.is_set():
        with suppress(TimeoutError):
            await asyncio.wait_for(until.wait(), every_s)
        found.append(await asyncio.to_thread(scrape, url))
    return found
